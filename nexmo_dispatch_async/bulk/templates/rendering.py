"""`RenderedWorkflow`, the request body of a row, and `Renderer`, the protocol of templates.

The module sends nothing; `template` has the usual renderer.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import NamedTuple, Protocol

from nexmo_dispatch_async.models.findings import Finding
from nexmo_dispatch_async.workflow import Workflow
from nexmo_dispatch_core.unfinished import shows_unfinished

__all__ = ["RenderedWorkflow", "Renderer", "Route", "TemplateRow"]


class Route(NamedTuple):
    """Channel, sender and recipient of the first step of a row.

    Attributes:
        channel: Channel of the step.
        sender: Number, name or id of the sender.
        field: Name of the field with the recipient; `""` when a function made the step.
        address: The recipient, without such a field.
        others: Other recipients of later steps: names of fields, or addresses when a function made the steps.
    """

    channel: str
    sender: str
    field: str
    address: str = ""
    others: tuple[str, ...] = ()

    @property
    def bucket(self) -> str:
        """The unit of the rate, such as `whatsapp|447418342140`."""
        return f"{self.channel}|{self.sender}"


class TemplateRow(Protocol):
    """The part of a row that a renderer reads; `Recipient`, `Claimed` and `Row` have it."""

    @property
    def fields(self) -> Mapping[str, str]:
        """The values by name."""
        ...

    @property
    def channels(self) -> tuple[str, ...]:
        """Channels in the row's own order; empty for that of the template."""
        ...

    @property
    def language(self) -> str:
        """Language of the message, or `""`."""
        ...

    @property
    def variant(self) -> str:
        """Name of the variant, or `""`."""
        ...


class RenderedWorkflow:
    """A workflow as JSON bytes, checked: `body` equals `Workflow.to_json()` byte for byte.

    Attributes:
        body: The request body.
        channels: The channel of each step, in their order.
        client_refs: The references of the steps, each once, in the order of the steps.
    """

    __slots__ = ("__dict__", "body", "channels", "client_refs")

    def __init__(self, body: bytes, channels: tuple[str, ...], client_refs: tuple[str, ...]) -> None:
        self.body: bytes = body
        self.channels: tuple[str, ...] = channels
        self.client_refs: tuple[str, ...] = client_refs

    @cached_property
    def workflow(self) -> Workflow:
        """The workflow, decoded from the body at the first use."""
        return Workflow.from_json(self.body)

    def to_json(self) -> bytes:
        """Return `body`, as `Workflow.to_json()` does."""
        return self.body

    def summary(self) -> tuple[str, ...]:
        """Return one line per step for logs, as `Workflow.summary()` does."""
        return self.workflow.summary()

    @shows_unfinished
    def __repr__(self) -> str:
        return f"<RenderedWorkflow of {len(self.channels)}: {', '.join(self.channels)}>"


class Renderer(Protocol):
    """Makes the workflow of each row: a `WorkflowTemplate` or a `FunctionTemplate`."""

    @property
    def fields(self) -> frozenset[str] | None:
        """The names of the fields that the template reads; `None` when unknown."""
        ...

    @property
    def required(self) -> frozenset[str]:
        """The names of the fields that every row must have, as far as they are known."""
        ...

    @property
    def numbers(self) -> frozenset[str]:
        """The names of the fields that hold telephone numbers of recipients."""
        ...

    @property
    def findings(self) -> tuple[Finding, ...]:
        """Warnings about messages that do not depend on the row."""
        ...

    @property
    def fingerprint(self) -> str:
        """A hash of the template, equal in every process."""
        ...

    def render(self, row: TemplateRow, client_ref: str | None = None) -> RenderedWorkflow:
        """Return the row's workflow, checked.

        Args:
            row: A `Recipient`, a `Claimed` or a `Row`.
            client_ref: For every step without one.

        Raises:
            RowError: The row cannot be rendered, or its workflow breaks a rule: field, rule, what to do.
        """
        ...

    def route(self, row: TemplateRow) -> Route:
        """Return where the row's first step goes.

        Raises:
            RowError: The row cannot be rendered.
        """
        ...
