"""`Workflow`: the ordered steps of `POST /dispatch`; builds, decodes, checks and encodes them.

The module sends nothing; `DispatchClient.send()` does, after `check()`.
"""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any, Literal, cast

import msgspec
from msgspec import UNSET, Struct, UnsetType, field

from nexmo_dispatch_async.exceptions import ConfigurationError, InvalidWorkflowError
from nexmo_dispatch_async.models.extras import (
    encode,
    extra_of,
    has_extra,
    may_have_extra,
    place_extra,
    plain_json,
)
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
    """Ordered steps; a step is sent when the previous one failed or missed its condition (contract 3.1, 3.6).

    Attributes:
        steps: The steps; every step but the last has a failover condition.
        extra: Members beside `template` and `workflow` that this package does not know (contract 9.30).
    """

    steps: tuple[Step, ...] = field(name="workflow")
    extra: dict[str, Any] | UnsetType = UNSET

    def __post_init__(self) -> None:
        if self.extra is not UNSET:
            if isinstance(cast("object", self.extra), Step):
                raise ConfigurationError("Workflow takes one tuple: write Workflow.failover(first, second)")
            place_extra(self, {})

    @classmethod
    def failover(cls, *steps: Step, extra: Mapping[str, Any] | None = None) -> "Workflow":
        """Return a failover workflow; `failover` is the only template of the API.

        Example:
            Workflow.failover(
                whatsapp.template("ns:hello", from_="447418342140", to="918197792563").until(
                    "read", within=600
                ),
                sms.text("Hello", from_="31647356950", to="31617185666"),
            )

        Args:
            steps: The steps in order, as separate arguments; for a list write `Workflow.failover(*steps)`.
            extra: Members of the request that this package does not know, sent unchanged (contract 9.30).
        """
        return cls(steps=steps, extra=UNSET if extra is None else cast("dict[str, Any]", extra))

    @classmethod
    def from_json(cls, data: bytes | str, *, extra: bool = False) -> "Workflow":
        """Decode a request body, or a bare step, which becomes a workflow of one step (contract 9.1).

        Only the structure is checked here; `check()` refuses values such as placeholders and integers.

        Args:
            data: The JSON; a leading byte-order mark is skipped.
            extra: Keep members that this package does not know instead of refusing them (contract 9.30);
                `lint()` warns about each.

        Raises:
            InvalidWorkflowError: The JSON is malformed or has another shape; the error lists every problem.
        """
        try:
            body = _DECODER.decode(data)
        except (msgspec.DecodeError, UnicodeError, RecursionError):
            body = None
        # A member named `extra` is unknown, too.
        if body is not None and not (may_have_extra(data) and has_extra(body)):
            return cls(steps=body.workflow)
        value = load(data)
        if _is_bare_step(value):
            return cls(steps=(convert(value, Step, step=1, extra=extra),))
        body = convert(value, _Body, extra=extra)
        return cls(steps=body.workflow, extra=body.extra)

    def to_json(self) -> bytes:
        """Return the request body, without nulls and omitted members."""
        return encode(self)

    @property
    def client_refs(self) -> tuple[str, ...]:
        """The references of the steps, without duplicates and in order; callbacks repeat them."""
        refs: list[str] = []
        for step in self.steps:
            ref = step.client_ref
            if ref is not UNSET and ref not in refs:
                refs.append(ref)
        return tuple(refs)

    def with_client_ref(self, client_ref: str) -> "Workflow":
        """Return a copy in which every step without a reference has this reference.

        Args:
            client_ref: The reference, up to 40 characters.
        """
        steps = cast("object", self.steps)
        if not isinstance(steps, tuple | list):
            # A collection without an order is kept, and lint() reports it.
            return self
        return Workflow(
            tuple(
                msgspec.structs.replace(step, client_ref=client_ref) if step.client_ref is UNSET else step
                for step in self.steps
            ),
            self.extra,
        )

    def summary(self) -> tuple[str, ...]:
        """Return one line per step for logs: channel, content, condition, last digits of the recipient."""
        return tuple(f"{describe(step)} to {tail(_recipient(step))}" for step in self.steps)

    def lint(self, rules: Rules = DEFAULT_RULES) -> list[Finding]:
        """Return all errors and warnings as data (docs/rules.md).

        Args:
            rules: The rules that apply, with their severities.
        """
        return find(self.steps, rules, extra=extra_of(self))

    def check(self, rules: Rules = DEFAULT_RULES) -> None:
        """Refuse a workflow that breaks a rule; `DispatchClient.send()` calls `check()` before the network.

        Args:
            rules: The rules that apply, with their severities.

        Raises:
            InvalidWorkflowError: At least one finding has the severity `error`; the exception lists them.
        """
        if self.extra is UNSET and rules.no_stricter and is_usual(self.steps):
            return
        if findings := find(self.steps, rules, extra=extra_of(self), errors_only=True):
            raise InvalidWorkflowError(findings)

    def checked_json(self, rules: Rules = DEFAULT_RULES) -> bytes:
        """Return the request body if no rule is broken: `check()` and `to_json()` in one.

        Raises:
            InvalidWorkflowError: As `check()`.
        """
        usual = self.extra is UNSET and rules.no_stricter and type(self) is Workflow and is_usual(self.steps)
        if usual:
            # The usual kind has no unknown members, for which `to_json()` would search the text.
            return plain_json(self)
        self.check(rules)
        return self.to_json()

    def worst_case_time(self) -> timedelta:
        """Return the longest time from the send to the last step: every condition expires (contract 3.6).

        The time after the last step is unlimited: nothing documented ends a last step that is neither
        delivered nor failed (contract 9.12). In a capture each expiry was about three seconds late.
        """
        return delay_before(self.steps, len(self.steps) - 1)

    def __repr__(self) -> str:
        if not isinstance(cast("object", self.steps), tuple | list):
            return "<Workflow whose steps are no tuple>"
        return f"<Workflow of {len(self.steps)}: {'; '.join(map(describe, self.steps))}>"

    def __rich_repr__(self) -> list[tuple[str, Any]]:
        return [("steps", [describe(step) for step in self.steps])]


def _recipient(step: Step) -> object:
    return step.to.id if step.to.number is UNSET else step.to.number


class _Body(Struct, frozen=True, forbid_unknown_fields=True):
    """The body for decoding: unlike a tag, a field can be required."""

    template: Literal["failover"]
    workflow: tuple[Step, ...]
    extra: dict[str, Any] | UnsetType = UNSET


_DECODER = msgspec.json.Decoder(_Body)


def _is_bare_step(value: object) -> bool:
    if not isinstance(value, dict):
        return False
    members = cast("dict[str, object]", value).keys()
    return not members & {"template", "workflow"} and bool(members & {"from", "to", "message"})
