"""Readable lines for callbacks: a timeline of one workflow, and single lines for `listen`.

Addresses are masked, texts and reasons of errors omitted: a terminal is a log too.
"""

from datetime import datetime
from decimal import Decimal

from rich.console import Console

from nexmo_dispatch_async.cli.screen import Part, show
from nexmo_dispatch_async.models.responses import Dispatch
from nexmo_dispatch_async.workflow import Workflow
from nexmo_dispatch_webhooks import FinalReport, InboundMessage, MessageStatus, UnknownEvent

STATUS_STYLE = {
    "submitted": "yellow",
    "delivered": "green",
    "read": "bold green",
    "rejected": "bold red",
    "undeliverable": "bold red",
    "completed": "bold green",
    "error": "bold red",
}


def mask(address: str | None) -> str:
    """Return the last three characters of an address behind dots."""
    return f"…{address[-3:]}" if address else "…"


def money(price: Decimal | None, currency: str | None) -> str:
    """Return a price with its currency; empty without a price."""
    return "" if price is None else f"{currency or ''} {price}".strip()


def describe(workflow: Workflow) -> str:
    """Return the channels with their conditions, e.g. `whatsapp (until read within 600 s) → sms`."""
    parts: list[str] = []
    for step in workflow.steps:
        if step.failover:
            condition = f" (until {step.failover.condition_status} within {step.failover.expiry_time} s)"
            parts.append(step.to.type + condition)
        else:
            parts.append(step.to.type)
    return " → ".join(parts)


class Timeline:
    """Prints the events of one workflow, with the simulated seconds since its start."""

    def __init__(self, console: Console, start: datetime, workflow: Workflow) -> None:
        self._console = console
        self._start = start
        self._workflow = workflow
        self._steps: dict[str, int] = {}  # message_uuid -> step, by first appearance (contract 9.29)
        self._last_status = ""

    def sent(self, dispatch: Dispatch) -> None:
        """Print the accepted request."""
        self._line(self._start, "→", "POST /dispatch", "bold", describe(self._workflow))
        self._line(self._start, "←", "202", "bold", f"dispatch_uuid {dispatch.dispatch_uuid}")

    def status(self, event: MessageStatus) -> None:
        """Print a message-status, preceded by the failover if it is the first of a further step."""
        step = self._steps.setdefault(event.message_uuid, len(self._steps) + 1)
        if step > 1 and event.status == "submitted":
            self._line(event.timestamp, "↪", "failover", "bold yellow", self._why(step - 1))
        self._last_status = event.status
        detail = f"step {step} {event.channel:<17} to {mask(event.to.address)}"
        if event.error is not None:
            detail += f"  error {event.error.code} ({event.error.error_class})"
        if event.usage is not None:
            detail += f"  {money(event.usage.price, event.usage.currency)}"
        self._line(event.timestamp, "←", event.status, STATUS_STYLE.get(event.status or "", ""), detail)

    def _why(self, step: int) -> str:
        condition = self._workflow.steps[step - 1].failover
        if self._last_status in {"rejected", "undeliverable"} or not condition:
            return f"step {step} was {self._last_status}"
        return f"step {step} was not {condition.condition_status} within {condition.expiry_time} s"

    def inbound(self, event: InboundMessage) -> None:
        """Print an inbound message, without its text."""
        detail = f"{event.channel} {event.content.type} from {mask(event.from_.address)}"
        self._line(event.timestamp, "←", "inbound", "cyan", detail)

    def report(self, event: FinalReport) -> None:
        """Print the final report with its price and the parts of the price."""
        prices = [(m.channel, m.usage.price) for m in event.messages if m.usage and m.usage.price is not None]
        detail = f"{len(event.messages)} message{'' if len(event.messages) == 1 else 's'} attempted"
        if event.usage is not None and event.usage.price is not None:
            fee = event.usage.price - sum((price for _, price in prices), Decimal(0))
            parts = [f"{channel} {price}" for channel, price in prices] + [f"workflow fee {fee.normalize()}"]
            detail += f", {money(event.usage.price, event.usage.currency)} = {' + '.join(parts)}"
        self._line(
            event.timestamp,
            "■",
            f"final-report: {event.status}",
            STATUS_STYLE.get(event.status or "", ""),
            detail,
        )

    def _line(self, at: datetime | None, arrow: str, what: str, style: str, detail: str) -> None:
        offset = "        ?" if at is None else f"{(at - self._start).total_seconds():8.3f}s"
        show(f"  {offset}  {arrow} ", (f"{what:<24}", style), detail, to=self._console)


def line(event: MessageStatus | InboundMessage | FinalReport | UnknownEvent) -> tuple[Part, ...]:
    """Return the parts of one line for one callback."""
    if isinstance(event, MessageStatus):
        what, style = event.status, STATUS_STYLE.get(event.status or "", "")
        detail = f"{event.channel} to {mask(event.to.address)} message {event.message_uuid}"
        if event.error is not None:
            detail += f" error {event.error.code} ({event.error.error_class})"
    elif isinstance(event, InboundMessage):
        what, style = "inbound", "cyan"
        sender = mask(event.from_.address)
        detail = f"{event.channel} {event.content.type} from {sender} message {event.message_uuid}"
    elif isinstance(event, FinalReport):
        what, style = f"final-report: {event.status}", STATUS_STYLE.get(event.status or "", "")
        price = money(event.usage.price, event.usage.currency) if event.usage else ""
        detail = f"dispatch {event.dispatch_uuid} {price}"
    else:
        what, style, detail = "unknown", "magenta", "a well-formed body of no known kind"
    return (f"{what:<24}", style), detail
