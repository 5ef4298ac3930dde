"""`bulk run`: add the list to the ledger, send it, hear what became of it.

What is sent, and when, is decided by `Campaign`; this wires it to the file, the account and the screen.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack, suppress
from pathlib import Path
from typing import Final

import anyio
import anyio.to_thread
from msgspec import Struct
from msgspec.structs import replace

from nexmo_dispatch_async.bulk.campaign import Campaign
from nexmo_dispatch_async.bulk.campaign_file import load, tariff_of, template_of
from nexmo_dispatch_async.bulk.ledger.memory import MemoryLedger
from nexmo_dispatch_async.bulk.ledger.places import is_url
from nexmo_dispatch_async.bulk.ledger.records import Control, Counts
from nexmo_dispatch_async.bulk.plan import same_address_in_words, unlisted
from nexmo_dispatch_async.bulk.progress import Status
from nexmo_dispatch_async.bulk.rejects import RejectsFile
from nexmo_dispatch_async.bulk.rows.intake import RejectedRowsError, Taken
from nexmo_dispatch_async.bulk.settings import CampaignSettings
from nexmo_dispatch_async.bulk.trial import send_trial
from nexmo_dispatch_async.cli.bulk_files import (
    DONE,
    FAILED,
    REFUSED,
    as_json,
    campaign_stores,
    code_of,
    rejects_path,
)
from nexmo_dispatch_async.cli.bulk_listen import ListenOptions, receive, secrets_of
from nexmo_dispatch_async.cli.bulk_live import LiveStatus
from nexmo_dispatch_async.cli.bulk_progress import Display, display_for
from nexmo_dispatch_async.cli.bulk_samples import kind_in_words, samples_of
from nexmo_dispatch_async.cli.bulk_words import (
    counts_in_words,
    next_run_in_words,
    pace_in_words,
    pause_in_words,
)
from nexmo_dispatch_async.cli.ending import Ending
from nexmo_dispatch_async.cli.screen import show
from nexmo_dispatch_async.client import DispatchClient
from nexmo_dispatch_async.exceptions import PlanChangedError

__all__ = ["RunOptions", "run"]

#: Seconds between two looks at the status.
_TOLD_EVERY_S: Final = 1.0


class RunOptions(Struct, frozen=True, kw_only=True):
    """The options of the command; see its help."""

    plan: str | None = None
    test: str | None = None
    restored: bool = False
    accept_loss: bool = False
    listen: ListenOptions | None = None
    wait: float | None = None
    json: bool = False


async def run(file: Path, options: RunOptions) -> int:
    """Run a campaign file; return the exit code of the command."""
    settings = load(file)
    secrets = None if options.listen is None else secrets_of(options.listen)
    async with AsyncExitStack() as stack:
        if options.test is not None:
            client = await stack.enter_async_context(DispatchClient.from_env(trust_env=True))
            return await _test(settings, client, options.test, json=options.json)
        ledger, opt_outs = await campaign_stores(
            settings, stack, restored=options.restored, accept_loss=options.accept_loss
        )
        client = await stack.enter_async_context(DispatchClient.from_env(trust_env=True))
        campaign = Campaign(
            ledger,
            client=client,
            template=template_of(settings),
            settings=settings,
            tariff=tariff_of(settings),
            opt_outs=opt_outs,
        )
        if options.listen is not None:
            await receive(campaign, options.listen, secrets, stack)
        try:
            await _add(campaign, file, options)
        except (PlanChangedError, RejectedRowsError) as error:
            show(str(error), error=True, lines=True)
            return REFUSED
        control = await ledger.control()
        for words in (pace_in_words(control), pause_in_words(control, file)):
            if words and not options.json:
                show(words, error=True)
        counts = await _send(campaign, options, stack)
        control = await ledger.control()
    return _ended(file, counts, control, options)


async def _add(campaign: Campaign, file: Path, options: RunOptions) -> None:
    source = Path(campaign.settings.source.file)
    if not await anyio.Path(source).exists() and (await campaign.ledger.counts()).total:
        show(f"{source} is gone: going on with the rows that the ledger has", error=True)
        return
    if (await campaign.ledger.control()).forgot:
        show(
            f"{source} is not read: people were forgotten, and those in it might get a second message. Going "
            "on with the rows that the ledger has; a new list needs a new campaign",
            error=True,
        )
        return
    with RejectsFile(rejects_path(file) or file.with_suffix(".rejects.csv")) as rejects:
        taken = await campaign.add(campaign.settings.source, plan=options.plan or "", rejects=rejects)
    await _tell_unlisted(campaign, file, taken)
    if taken.added and taken.same_address:
        show(same_address_in_words(taken.same_address), error=True)
    if options.json:
        show(as_json({"added": taken}))
        return
    show(_taken_in_words(taken))
    if taken.rejected:
        were = "line was" if taken.rejected == 1 else "lines were"
        show(f"{taken.rejected:,} {were} not taken: {rejects.path}", error=True)


async def _tell_unlisted(campaign: Campaign, file: Path, taken: Taken) -> None:
    """Say that rows are sent which the list has no more; it is read again only where the counts differ."""
    source, counts = campaign.settings.source.file, await campaign.ledger.counts()
    is_whole = counts.total <= taken.added + taken.already or not counts.states.get("pending")
    if is_whole or not await anyio.Path(source).is_file():
        return
    if gone := sum([1 async for _ in unlisted(campaign.settings, campaign.ledger)]):
        are = "row is" if gone == 1 else "rows are"
        show(
            f"{gone:,} pending {are} no longer in {Path(source).name}, and sent all the same: "
            f"nexmo-dispatch bulk withdraw {file} gives such rows up",
            error=True,
        )


def _taken_in_words(taken: Taken) -> str:
    words = f"{taken.rows:,} row{'' if taken.rows == 1 else 's'} read, {taken.added:,} added"
    if taken.already:
        words += f", {taken.already:,} were there and stay as they were added"
    if taken.held_out:
        words += f", {taken.held_out:,} held out"
    return words


async def _send(campaign: Campaign, options: RunOptions, stack: AsyncExitStack) -> Counts:
    ledger = campaign.settings.ledger
    live = None if is_url(ledger) else LiveStatus(Path(ledger))
    display: Display = stack.enter_context(
        display_for(campaign.settings.name, json=options.json, zone=campaign.settings.zone)
    )
    try:
        status = await campaign.status()
        if status.state == "idle":  # as long as the run has not begun; a status that is left tells of a run
            status = replace(status, state="running")
        await _leave(live, status)
        async with anyio.create_task_group() as group:
            group.start_soon(_tell, campaign, display, live)
            try:
                counts = await campaign.run(plan=options.plan or "", signals=True)
                if options.wait is not None and not counts.open:
                    await _unless_told(lambda: campaign.wait(timeout=options.wait))
            finally:
                group.cancel_scope.cancel()
    finally:
        if live is not None:
            live.remove()  # once the thread that writes it has ended: it would make the file again
    status = await campaign.status()
    display.update(status)
    return status.counts  # and no later ones: both lines say the same


async def _tell(campaign: Campaign, display: Display, live: LiveStatus | None) -> None:
    """Show the status here, and leave it for other terminals, now and then."""
    begun = False
    while True:
        begun = begun or campaign.is_running
        status = await campaign.status()
        if begun or status.state == "finished":  # before, a pause of the last run may be lifted in a moment
            display.update(status)
            await _leave(live, status)
        await anyio.sleep(_TOLD_EVERY_S)


async def _leave(live: LiveStatus | None, status: Status) -> None:
    """Leave a status for other terminals."""
    with suppress(OSError):  # the folder may be full; what is sent is worth more than what is shown
        if live is not None:
            await anyio.to_thread.run_sync(live.write, status)


async def _unless_told(wait: Callable[[], Awaitable[object]]) -> None:
    """Wait for outcomes until the process is told to end."""
    with Ending() as ending:
        async with anyio.create_task_group() as group:

            async def cancel_at_end() -> None:
                await ending.wait()
                group.cancel_scope.cancel()

            group.start_soon(cancel_at_end)
            await wait()
            group.cancel_scope.cancel()


async def _test(settings: CampaignSettings, client: DispatchClient, number: str, *, json: bool) -> int:
    """Send one row of each variant and language to one number; the ledger is not touched."""
    found = [sample.recipient for sample in await samples_of(settings)]
    ledger = MemoryLedger()
    await ledger.add(found)
    sent = await send_trial(client, template_of(settings), ledger, number, country=settings.country)
    if json:
        show(as_json({"test": [dispatch.dispatch_uuid for dispatch in sent]}))
    else:
        show(f"{len(sent)} test message{'' if len(sent) == 1 else 's'} sent; the ledger is unchanged")
        if len(sent) == len(found):  # otherwise a row was refused, and its message went nowhere
            for recipient in found:
                show(f"  as line {recipient.line}: {kind_in_words(recipient)}")
    return DONE if sent else FAILED


def _ended(file: Path, counts: Counts, control: Control, options: RunOptions) -> int:
    """Say how it ended and what to do next; return the exit code."""
    unknown = counts.states.get("unknown", 0)
    if options.json:
        show(as_json({"ended": counts}))
    else:
        show(", ".join(counts_in_words(counts)))
        if counts.open:
            are = "row is" if counts.open == 1 else "rows are"
            show(f"{counts.open:,} {are} left: {next_run_in_words(control, file)}")
        if refused := counts.states.get("refused", 0):
            were = "row was" if refused == 1 else "rows were"
            show(f"{refused:,} {were} refused: nexmo-dispatch bulk refused list {file} says why")
        if unknown:
            are = "row is" if unknown == 1 else "rows are"
            proof = f"a callback may prove it within 24 hours, {_listen_on(file)} hears it"
            show(f"{unknown:,} {are} unknown: {proof}; then nexmo-dispatch bulk unknown list {file}")
        if options.wait is not None and (silent := counts.states.get("sent", 0) - counts.ended) > 0:
            have = "row has" if silent == 1 else "rows have"
            show(f"{silent:,} {have} no final report yet: {_listen_on(file)} hears of it")
        elif options.listen is not None:
            show(f"STOP replies may come for days: {_listen_on(file)} hears them")
    return code_of(counts)


def _listen_on(file: Path) -> str:
    return f"nexmo-dispatch bulk listen {file}"
