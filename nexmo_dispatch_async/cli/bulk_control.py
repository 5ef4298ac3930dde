"""`bulk status`, `pause`, `resume` and `stop`: from any terminal, while another process sends."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final, Literal

import anyio
from msgspec.structs import replace

from nexmo_dispatch_async.bulk.campaign_file import template_of
from nexmo_dispatch_async.bulk.ledger.ledger import Ledger, TellsLife
from nexmo_dispatch_async.bulk.ledger.records import Control, Counts
from nexmo_dispatch_async.bulk.opening import refusal
from nexmo_dispatch_async.bulk.progress import Status, pause_of, silence
from nexmo_dispatch_async.cli.bulk_files import (
    DONE,
    FAILED,
    UNFINISHED,
    as_json,
    code_of,
    ledger_of,
    name_of,
    opened,
    settings_of,
    zone_of,
)
from nexmo_dispatch_async.cli.bulk_live import read_live
from nexmo_dispatch_async.cli.bulk_words import hold_in_words, line_of, next_run_in_words, pause_in_words
from nexmo_dispatch_async.cli.screen import show
from nexmo_dispatch_async.cli.stores import Place

if TYPE_CHECKING:
    from nexmo_dispatch_async.bulk.ledger.jetstream import JetStreamLedger
    from nexmo_dispatch_async.bulk.ledger.postgres import PostgresLedger
    from nexmo_dispatch_async.bulk.ledger.sqlite import SqliteLedger

    _AnyLedger = SqliteLedger | PostgresLedger | JetStreamLedger

__all__ = ["ask", "next_step", "show_status", "status_of"]

ControlState = Literal["run", "pause", "stop"]

_BY = "command"
#: Seconds within which a process that sends leaves its next status.
_NEXT_S = 3.0


#: What a word of an operator does, to a process that sends and where there is none.
_RUNNING: Final = {
    "run": "may run",
    "pause": "pauses",
    "stop": "stops once what is in flight is answered",
}
_IDLE: Final = {
    "run": "may run: no process sends it, nexmo-dispatch bulk run {} goes on",
    "pause": "is paused: no process sends it, and the next run waits for nexmo-dispatch bulk resume {}",
    "stop": "is stopped: no process sends it",
}


async def status_of(place: Place) -> Status:
    """Return where a campaign stands: what the process that sends says, or else what its rows say.

    Raises:
        DispatchError: The file is wrong, or the ledger cannot be opened.
    """
    now = time.time()
    async with opened(place, observer=True) as ledger:
        live = await _live(place, ledger)
        return await _idle(ledger, now) if live is None else _asked(live, await ledger.control())


async def show_status(place: Place, *, verify: bool, json: bool) -> int:
    """Print where a campaign stands; see `bulk status`."""
    status = await status_of(place)
    if verify:
        async with opened(place, observer=True) as ledger:
            before = await _live(place, ledger)
            recount = await ledger.counts(verify=True)
        after = await _live_after(ledger_of(place), time.time()) if before is not None else None
        status = replace(status, counts=recount)
        if before is not None and not _between(before.counts, recount, (after or before).counts):
            show("the numbers of the process that sends differ from a recount of the rows", error=True)
            show(as_json({"numbers": before.counts, "recount": recount}), error=True)
            return FAILED
    show(as_json(status) if json else line_of(name_of(place), status, zone_of(place)))
    if status.state == "idle" and not json:
        if status.wait is None and (sending := status.counts.states.get("sending")):
            were = "row was" if sending == 1 else "rows were"
            show(f"{sending:,} {were} in flight when its process ended: the next run calls them unknown")
        show(f"no process sends it: nexmo-dispatch bulk run {_file(place)} goes on")
    return code_of(status.counts) if status.counts.total else UNFINISHED


async def ask(
    place: Place,
    state: ControlState | None,
    *,
    reason: str = "",
    rate: float | None = None,
    limit: int | None = None,
    release: bool = False,
    json: bool = False,
) -> int:
    """Tell all who send for a campaign what is asked for; what is `None` stays as it is.

    Args:
        place: The campaign file or its ledger.
        state: `run`, `pause` or `stop`.
        reason: In words, for `status`.
        rate: Sends per second, 0 for those of the plan.
        limit: Sends in flight, 0 for those of the plan.
        release: Let the canary pass.
        json: Print JSON.
    """
    now = time.time()
    async with opened(place, observer=True) as ledger:
        before = Control()

        def change(known: Control) -> Control:
            nonlocal before
            before = known
            request = replace(
                known,
                rate=known.rate if rate is None else rate or None,
                limit=known.limit if limit is None else limit or None,
                release=known.release or release,
            )
            if state == "stop":
                return request.stopped(_BY, reason)
            return request if state is None else request.asked(now, state=state, by=_BY, reason=reason)

        control = await ledger.control(change)
        running = await _may_run(ledger)
        listens = not isinstance(ledger, TellsLife) and await ledger.holder() == "listener"
        refused = await _refused(place, ledger) if state == "run" else ""
        held = await _hold(place, ledger, before) if state == "run" else ""
    if held == "canary" and control.release:
        held = ""
    if json:
        show(as_json(control))
    elif words := hold_in_words(held, _file(place)):
        show(f"{name_of(place)} was resumed, but {words}")
    elif refused and not running:
        show(f"{name_of(place)} was resumed, but {refused}")
    else:
        done = (_RUNNING if running else _IDLE)[control.state].format(_file(place))
        ended = " once nexmo-dispatch bulk listen, which has the ledger, is ended"
        show(f"{name_of(place)} {done}{ended if listens and control.state == 'run' else ''}")
        if refused:
            show(f"what sends keeps its own messages: {refused}", error=True)
        if control.held:
            show(next_run_in_words(control, _file(place)))
    return DONE


async def next_step(place: Place) -> str:
    """Return in words what sends the pending rows of a campaign, or what has to be asked for before.

    Raises:
        DispatchError: The file is wrong, or the ledger cannot be opened.
    """
    async with opened(place, observer=True) as ledger:
        control = await ledger.control()
        # The caller had the file, so no other process sends from it.
        is_sent = isinstance(ledger, TellsLife) and (await ledger.life()).senders > 0
        if is_sent and control.state != "stop":
            return pause_in_words(control, _file(place)) or "the process that sends takes them"
        return next_run_in_words(control, _file(place))


def _file(place: Place) -> Place:
    """Return how a command names a campaign: `bulk run` takes no ledger, and a URL may hold a password."""
    return "FILE" if settings_of(place) is None else place


async def _may_run(ledger: _AnyLedger) -> bool:
    """Whether a process sends for a campaign, as far as its ledger tells."""
    if isinstance(ledger, TellsLife):
        return (await ledger.life()).senders > 0
    return await ledger.holder() == "sender"


async def _live(place: Place, ledger: _AnyLedger) -> Status | None:
    """Return what the process that sends left; `None` for nothing fresh, or when that process is gone."""
    live = read_live(ledger_of(place), time.time())
    return live if live is not None and await _may_run(ledger) else None


def _asked(live: Status, control: Control) -> Status:
    """Return a status with the pause, or the end of one, that was asked for since its process left it."""
    if control.state == "pause" and live.state in {"running", "waiting"}:
        return replace(live, state="paused", wait=pause_of(control), eta=None)
    if control.state == "run" and live.state == "paused":
        return replace(live, state="running", wait=None)
    return live


async def _hold(place: Place, ledger: _AnyLedger, before: Control) -> str:
    """Return what held a campaign before it was resumed, such as `canary`; `""` for nothing that is known."""
    if before.state == "pause" or before.held:
        return before.by
    live = await _live(place, ledger)
    if live is not None:
        return live.wait.reason if live.wait is not None else ""
    settings = settings_of(place)
    canary = None if settings is None else settings.canary
    full = canary is not None and canary.until == "word" and (await ledger.counts()).sends >= canary.first
    return "canary" if full else ""


async def _refused(place: Place, ledger: _AnyLedger) -> str:
    """Return why a run with the campaign file would be refused; `""` for a ledger or a file that is not."""
    settings = settings_of(place)
    return "" if settings is None else await refusal(ledger, template_of(settings).fingerprint)


async def _live_after(ledger: Place, at: float) -> Status | None:
    """Return the first status that the process that sends leaves from then on, `None` if it leaves none."""
    with anyio.move_on_after(_NEXT_S):
        while True:
            live = read_live(ledger, time.time())
            if live is None or live.at >= at:
                return live
            await anyio.sleep(0.1)
    return None


def _between(before: Counts, recount: Counts, after: Counts) -> bool:
    """Whether a recount lies between two looks at a campaign that goes on: what is settled only grows."""
    looks = [before, recount, after]
    settled = ([counts.states.get(state, 0) for counts in looks] for state in ("sent", "refused", "skipped"))
    return all(numbers == sorted(numbers) for numbers in (*settled, [counts.total for counts in looks]))


async def _idle(ledger: Ledger, now: float) -> Status:
    """What the rows of a campaign say that no process sends for."""
    counts, control = await ledger.counts(), await ledger.control()
    if counts.total and not counts.open:
        return Status(state="finished", counts=counts, at=now)
    if control.state == "pause" or control.held:
        return Status(state="paused", counts=counts, at=now, wait=pause_of(control))
    if not isinstance(ledger, TellsLife):
        return Status(state="idle", counts=counts, at=now)
    life = await ledger.life()
    silent = silence(life, now)
    if not life.senders:
        return Status(state="idle", counts=counts, at=now, wait=silent)
    seen = None if life.seen is None else now - life.seen
    if silent is not None and life.silent == counts.open:
        return Status(state="waiting", counts=counts, at=now, wait=silent, seen=seen)
    return Status(state="running", counts=counts, at=now, seen=seen)
