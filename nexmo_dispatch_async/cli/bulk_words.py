"""The status of a campaign in words, for a terminal and for a log.

It prints nothing; the words of operators in it are escaped where they are printed.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Final
from zoneinfo import ZoneInfo

from nexmo_dispatch_async.bulk.ledger.records import Control, Counts
from nexmo_dispatch_async.bulk.progress import Status, Wait
from nexmo_dispatch_async.bulk.sending.safety import RAISE

__all__ = [
    "counts_in_words",
    "hold_in_words",
    "line_of",
    "moment",
    "next_run_in_words",
    "pace_in_words",
    "pause_in_words",
    "span",
    "wait_in_words",
]

# Reasons that are a state, and not something to wait for.
_STANDING: Final = ("paused", "stopping", "throttled", "unreachable")
# Reasons whose wait ends with one send that is tried.
_TRIED: Final = ("unreachable", "service")

# What to do about a hold, where its reason does not say it.
_NEXT_STEPS: Final = {
    "canary": "; when the first rows went well: nexmo-dispatch bulk resume FILE --release",
    "max_spend": "; to go on: raise max_spend in the file, bulk stop, bulk run",
}


def line_of(name: str, status: Status, zone: str = "UTC") -> str:
    """Return where a campaign stands, on one line: why nothing moves first, and what to do last.

    Args:
        name: Of the campaign.
        status: Its status.
        zone: IANA name of the time zone of times.
    """
    wait = None if status.state == "finished" else status.wait
    why = "" if wait is None else _why_in_words(wait, status.at, zone)
    said = why.startswith(status.state)
    parts = [f"{name}: {why if said else status.state}", *counts_in_words(status.counts)]
    if why and not said:
        parts.insert(1, why)
    if status.state == "running" and status.rate:
        parts.append(f"{status.rate:.1f}/s")
    if status.state == "running" and status.eta is not None:
        parts.append(f"{span(status.eta - status.at)} left")
    if status.seen is not None:
        parts.append(f"last sign of life {span(status.at - status.seen)} ago")
    return ", ".join(parts) + ("" if wait is None else _next_step(wait))


def counts_in_words(counts: Counts) -> Iterator[str]:
    """Yield the numbers that are not 0."""
    done = counts.total - counts.open
    yield f"{done:,} of {counts.total:,} done"
    for state in ("sent", "refused", "unknown", "skipped"):
        if number := counts.states.get(state, 0):
            yield f"{number:,} {state}"
    if reached := sum(counts.reached.values()):
        yield f"{reached:,} reached, {counts.reached.get('read', 0):,} read"
    for currency, cost in counts.cost.items():
        yield f"{currency} {cost}".strip()


def wait_in_words(wait: Wait, now: float, zone: str = "UTC") -> str:
    """Return why nothing moves, until when, and what to do.

    Args:
        wait: The reason.
        now: Epoch seconds.
        zone: IANA name of the time zone of times.
    """
    return _why_in_words(wait, now, zone) + _next_step(wait)


def _next_step(wait: Wait) -> str:
    return _NEXT_STEPS.get(wait.by or wait.reason, "")


def _why_in_words(wait: Wait, now: float, zone: str) -> str:
    if wait.reason == "unreachable":
        words = "the service cannot be reached"
    elif wait.reason == "silent":
        ago = "" if wait.since is None else f", last sign of life {span(now - wait.since)} ago"
        words = f"waiting for {wait.words}{ago}"
    else:
        words = str(wait) if wait.reason in _STANDING else f"waiting for {wait}"
        words = words.removesuffix(RAISE)  # the commands for it come last
    if wait.until is not None:
        until = ", next try at" if wait.reason in _TRIED else " until"
        until = ", unknown from" if wait.reason == "silent" else until
        words += f"{until} {moment(wait.until, zone)} (in {span(wait.until - now)})"
    if wait.pauses_at is not None:
        words += f", it pauses at {moment(wait.pauses_at, zone)} if that does not help"
    return words


def hold_in_words(hold: str, file: object) -> str:
    """Return what a campaign needs that `bulk resume` alone does not move; `""` for nothing more.

    Args:
        hold: What holds it: `canary`, `max_spend`, or another reason.
        file: The campaign file, for the commands.
    """
    if hold == "canary":
        return f"its canary still holds it: nexmo-dispatch bulk resume {file} --release lets all rows go"
    if hold == "max_spend":
        return (
            f"max_spend still holds it: raise it in {file}, end a run with nexmo-dispatch bulk stop {file}, "
            f"then nexmo-dispatch bulk run {file}"
        )
    return ""


def pause_in_words(control: Control, file: object) -> str:
    """Return what ends a pause that was asked for before a run begins; `""` for none.

    Args:
        control: What operators, or the campaign itself, asked for.
        file: The campaign file, for the command.
    """
    control = control.begun()
    if control.state != "pause":
        return ""
    by = f" by {control.by}" if control.by else ""
    return f"it was paused{by} before: nexmo-dispatch bulk resume {file} lets it go on"


def next_run_in_words(control: Control, file: object) -> str:
    """Return what the next run needs to go on with the rows that are left.

    Args:
        control: What operators, or the campaign itself, asked for.
        file: The campaign file, for the commands.
    """
    run = f"nexmo-dispatch bulk run {file}"
    if control.state != "pause" and not control.held:
        return f"{run} goes on"
    if control.by == "max_spend":
        return f"raise max_spend in {file}, and {run} goes on"
    release = " --release" if control.by == "canary" else ""
    words = f"it stays paused: nexmo-dispatch bulk resume {file}{release}, and {run} goes on"
    if control.by == "abort_if":
        words += " with the same messages; corrected ones need a new campaign that excludes this one"
    return words


def pace_in_words(control: Control) -> str:
    """Return the pace that `bulk resume` set instead of that of the file; `""` for none."""
    parts: list[str] = []
    if control.rate is not None:
        parts.append(f"--rate {control.rate:g}")
    if control.limit is not None:
        parts.append(f"--limit {control.limit}")
    if not parts:
        return ""
    back = " ".join(f"{part.split()[0]} 0" for part in parts)
    return f"the pace is that of bulk resume {' '.join(parts)}, not that of the file; {back} goes back to it"


def moment(epoch: float, zone: str = "UTC") -> str:
    """Return a time in a zone, to the second."""
    at = datetime.fromtimestamp(epoch, ZoneInfo(zone))
    return f"{at:%Y-%m-%d %H:%M:%S} {at.tzname() or zone}"


def span(seconds: float) -> str:
    """Return a time in its two largest units."""
    whole = max(round(seconds), 0)
    for size, unit, smaller, part in ((86400, "d", 3600, "h"), (3600, "h", 60, "min"), (60, "min", 1, "s")):
        if whole >= size:
            return f"{whole // size} {unit} {whole % size // smaller} {part}"
    return f"{whole} s"
