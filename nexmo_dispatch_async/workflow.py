"""A workflow: the ordered steps that `POST /dispatch` takes, built, read, checked and written.

It does not send anything; `DispatchClient.send()` does, after `check()`.
"""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any, Literal, cast

import msgspec
from msgspec import UNSET, Struct, UnsetType, field

from nexmo_dispatch_async.exceptions import InvalidWorkflowError
from nexmo_dispatch_async.models.extras import encode, extra_of, has_extra, may_have_extra, place_extra
from nexmo_dispatch_async.models.findings import Finding, Severity
from nexmo_dispatch_async.models.requests import Step, describe
from nexmo_dispatch_async.models.structure import convert, load
from nexmo_dispatch_async.redaction import tail
from nexmo_dispatch_async.rules import DEFAULT_RULES, Rules
from nexmo_dispatch_async.rules.checks import find
from nexmo_dispatch_async.rules.usual_fast_path import is_usual
from nexmo_dispatch_async.rules.windows import delay_before

__all__ = ["Finding", "Severity", "Step", "Workflow"]


class Workflow(Struct, frozen=True, tag_field="template", tag="failover"):
    """Steps in order: each is sent when the one before it failed or missed its condition (contract 3.1, 3.6).

    Attributes:
        steps: The steps; every one but the last has a failover condition.
        extra: Members beside `template` and `workflow` that this package does not know (contract 9.30).
    """

    steps: tuple[Step, ...] = field(name="workflow")
    extra: dict[str, Any] | UnsetType = UNSET

    def __post_init__(self) -> None:
        if self.extra is not UNSET:
            place_extra(self, {})

    @classmethod
    def failover(cls, *steps: Step, extra: Mapping[str, Any] | None = None) -> "Workflow":
        """A failover workflow, the only template there is.

        Example:
            Workflow.failover(
                whatsapp.template("ns:hello", from_="447418342140", to="918197792563").until(
                    "read", within=600
                ),
                sms.text("Hello", from_="31647356950", to="31617185666"),
            )

        Args:
            steps: The steps in their order, each an argument: `Workflow.failover(*steps)` for a list of them.
            extra: Members of the request that this package does not know, sent as they are (contract 9.30).
        """
        return cls(steps=steps, extra=UNSET if extra is None else cast("dict[str, Any]", extra))

    @classmethod
    def from_json(cls, data: bytes | str, *, extra: bool = False) -> "Workflow":
        """Read a request body, or a bare step, which becomes a workflow of one step (contract 9.1).

        Only the structure is judged here; placeholders and integers are kept and refused by `check()`.

        Args:
            data: The JSON; a byte-order mark before it is left out.
            extra: Keep members that this package does not know instead of refusing them (contract 9.30):
                `lint()` warns about each.

        Raises:
            InvalidWorkflowError: The JSON is malformed or has another shape; every problem is named.
        """
        try:
            body = _DECODER.decode(data)
        except (msgspec.DecodeError, UnicodeError, RecursionError):
            body = None
        # A member that is called `extra` is as unknown as any other.
        if body is not None and not (may_have_extra(data) and has_extra(body)):
            return cls(steps=body.workflow)
        value = load(data)
        if _is_bare_step(value):
            return cls(steps=(convert(value, Step, step=1, extra=extra),))
        body = convert(value, _Body, extra=extra)
        return cls(steps=body.workflow, extra=body.extra)

    def to_json(self) -> bytes:
        """The request body: no nulls, nothing that was not given."""
        return encode(self)

    @property
    def client_refs(self) -> tuple[str, ...]:
        """The references of the steps, each once, in the order of the steps; callbacks repeat them."""
        refs: list[str] = []
        for step in self.steps:
            ref = step.client_ref
            if ref is not UNSET and ref not in refs:
                refs.append(ref)
        return tuple(refs)

    def with_client_ref(self, client_ref: str) -> "Workflow":
        """A copy in which every step that has no reference has this one."""
        steps = cast("object", self.steps)
        if not isinstance(steps, tuple | list):
            # Without an order of its own: it is kept, so that lint() names it.
            return self
        return Workflow(
            tuple(
                msgspec.structs.replace(step, client_ref=client_ref) if step.client_ref is UNSET else step
                for step in self.steps
            ),
            self.extra,
        )

    def summary(self) -> tuple[str, ...]:
        """One line a step, fit for logs: channel, content, condition, the end of the recipient's number."""
        return tuple(f"{describe(step)} to {tail(_recipient(step))}" for step in self.steps)

    def lint(self, rules: Rules = DEFAULT_RULES) -> list[Finding]:
        """Everything that is wrong or doubtful, as data (docs/rules.md).

        Args:
            rules: Which rules apply, with which severity.
        """
        return find(self.steps, rules, extra=extra_of(self))

    def check(self, rules: Rules = DEFAULT_RULES) -> None:
        """Refuse a workflow that breaks a rule; `DispatchClient.send()` calls this before the network.

        Raises:
            InvalidWorkflowError: At least one finding has the severity `error`; it carries all of those.
        """
        if self.extra is UNSET and rules.no_stricter and is_usual(self.steps):
            return
        if findings := find(self.steps, rules, extra=extra_of(self), errors_only=True):
            raise InvalidWorkflowError(findings)

    def worst_case_time(self) -> timedelta:
        """How long after the send the last step may leave: every condition expires (contract 3.6).

        What comes after that is open: nothing documented ends a last step that is neither delivered nor
        failed (contract 9.12). In a capture the service was about three seconds late per expiry.
        """
        return delay_before(self.steps, len(self.steps) - 1)

    def __repr__(self) -> str:
        return f"<Workflow of {len(self.steps)}: {'; '.join(map(describe, self.steps))}>"

    def __rich_repr__(self) -> list[tuple[str, Any]]:
        return [("steps", [describe(step) for step in self.steps])]


def _recipient(step: Step) -> object:
    return step.to.id if step.to.number is UNSET else step.to.number


class _Body(Struct, frozen=True, forbid_unknown_fields=True):
    """The body as it is read: unlike a tag, a field can be required."""

    template: Literal["failover"]
    workflow: tuple[Step, ...]
    extra: dict[str, Any] | UnsetType = UNSET


_DECODER = msgspec.json.Decoder(_Body)


def _is_bare_step(value: object) -> bool:
    if not isinstance(value, dict):
        return False
    members = cast("dict[str, object]", value).keys()
    return not members & {"template", "workflow"} and bool(members & {"from", "to", "message"})
