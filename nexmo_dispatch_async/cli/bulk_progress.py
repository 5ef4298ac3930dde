"""How a running campaign shows itself: a bar in a terminal, lines in a log, JSON for machines.

It is told a status about once a second, and prints through `screen`.
"""

from __future__ import annotations

from types import TracebackType
from typing import Final, Protocol, Self

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.padding import Padding
from rich.progress_bar import ProgressBar
from rich.text import Text

from nexmo_dispatch_async.bulk.ledger.records import Counts
from nexmo_dispatch_async.bulk.progress import Status
from nexmo_dispatch_async.cli.bulk_files import as_json
from nexmo_dispatch_async.cli.bulk_words import counts_in_words, line_of, span, wait_in_words
from nexmo_dispatch_async.cli.screen import Screen, printable, show

__all__ = ["Display", "JsonDisplay", "LogDisplay", "TerminalDisplay", "display_for"]

#: Seconds between two lines of a log that say the same but for the numbers, and while nothing moves.
_EVERY: Final = 10.0
_STILL: Final = 600.0


class Display(Protocol):
    """Shows a campaign for as long as it is entered."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def update(self, status: Status) -> None:
        """Show a status."""
        ...


class _Quiet:
    """What displays without a screen of their own share."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        return None


class LogDisplay(_Quiet):
    """A line now and then, and at once when the state or the reason to wait changes.

    Args:
        name: Of the campaign.
        to: A console, for the standard output if `None`.
        zone: IANA name of the time zone of times.
    """

    def __init__(self, name: str, to: Console | None = None, zone: str = "UTC") -> None:
        self._name = name
        self._zone = zone
        self._to = to
        self._last: tuple[object, ...] = ()
        self._counts: Counts | None = None
        self._told = 0.0

    def update(self, status: Status) -> None:
        """Print a line if it is time, or if something changed."""
        wait = status.wait
        news = (status.state, None if wait is None else (wait.reason, wait.bucket, wait.by))
        every = _STILL if status.wait is not None and status.counts == self._counts else _EVERY
        if news == self._last and status.at < self._told + every:
            return
        self._last, self._counts, self._told = news, status.counts, status.at
        show(line_of(self._name, status, self._zone), to=self._to)


class JsonDisplay(_Quiet):
    """An object a line, whenever anything but the time changed.

    Args:
        to: A console, for the standard output if `None`.
    """

    def __init__(self, to: Console | None = None) -> None:
        self._to = to
        self._last: tuple[object, ...] = ()

    def update(self, status: Status) -> None:
        """Print the status if it says something new."""
        news = (status.state, status.counts, status.wait, status.in_flight)
        if news != self._last:
            self._last = news
            show(as_json({"status": status}), to=self._to)


class TerminalDisplay:
    """A bar with the numbers below it, and why nothing moves.

    Args:
        name: Of the campaign.
        to: The console of the terminal.
        zone: IANA name of the time zone of times.
    """

    def __init__(self, name: str, to: Console, zone: str = "UTC") -> None:
        self._name = name
        self._zone = zone
        self._live = Live(console=to, refresh_per_second=4, transient=False)

    def __enter__(self) -> Self:
        self._live.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._live.__exit__(kind, error, trace)

    def update(self, status: Status) -> None:
        """Draw a status."""
        self._live.update(self._drawn(status))

    def _drawn(self, status: Status) -> RenderableType:
        counts = status.counts
        head = Text.assemble(
            (printable(self._name), "bold"), "  ", (status.state, _STYLES.get(status.state, ""))
        )
        if status.rate and status.state == "running":
            head.append(f"  {status.rate:.1f}/s")
        if status.eta is not None and status.state == "running":
            head.append(f"  {span(status.eta - status.at)} left")
        if status.in_flight:
            head.append(f"  {status.in_flight} in flight")
        lines: list[RenderableType] = [
            head,
            # on a line of its own: a bar does not end its line
            Padding(
                ProgressBar(total=max(counts.total, 1), completed=counts.total - counts.open, width=60), 0
            ),
            Text("  ".join(counts_in_words(counts))),
        ]
        if status.wait is not None and status.state != "finished":
            lines.append(Text(printable(wait_in_words(status.wait, status.at, self._zone)), "yellow"))
        return Group(*lines)


_STYLES: Final = {"running": "green", "waiting": "yellow", "paused": "yellow", "finished": "green bold"}


def display_for(name: str, *, json: bool, zone: str = "UTC") -> Display:
    """Return the display that fits where the output goes.

    Args:
        name: Of the campaign.
        json: For machines.
        zone: IANA name of the time zone of times.
    """
    if json:
        return JsonDisplay()
    console = Screen()
    return TerminalDisplay(name, console, zone) if console.is_terminal else LogDisplay(name, zone=zone)
