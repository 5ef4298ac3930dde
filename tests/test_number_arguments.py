"""Numbers that stores and waits cannot use are refused by the names of their arguments, with the range."""

from __future__ import annotations

import inspect
import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import pytest

from nexmo_dispatch_async.bulk import Campaign, MemoryLedger, OptOutList
from nexmo_dispatch_async.bulk.callbacks import CampaignCallbacks
from nexmo_dispatch_async.bulk.ledger.jetstream import JetStreamLedger
from nexmo_dispatch_async.bulk.ledger.jetstream_opt_outs import JetStreamOptOutStore
from nexmo_dispatch_async.bulk.ledger.opt_outs_sqlite import SqliteOptOutStore
from nexmo_dispatch_async.bulk.ledger.places import open_ledger
from nexmo_dispatch_async.bulk.ledger.postgres import PostgresLedger
from nexmo_dispatch_async.bulk.ledger.postgres_opt_outs import PostgresOptOutStore
from nexmo_dispatch_async.bulk.ledger.sqlite import SqliteLedger
from nexmo_dispatch_async.exceptions import ConfigurationError
from nexmo_dispatch_async.tracking.jetstream import JetStreamTrackingStore
from nexmo_dispatch_async.tracking.postgres import PostgresTrackingStore
from nexmo_dispatch_async.tracking.sqlite import SqliteTrackingStore
from nexmo_dispatch_webhooks import ConfigurationError as ReceiverConfigurationError
from nexmo_dispatch_webhooks.inbox import JetStreamInbox, MemoryInbox, SqliteInbox

#: No server: each check comes before a connection.
POSTGRES: Final = "postgresql://127.0.0.1:1/none"
NATS: Final = "nats://127.0.0.1:1/none"
NO_NUMBERS: Final = (math.nan, -1, -math.inf, "30", True, [1])
DAY: Final = "above 0 and at most 86400"
UP_TO_A_DAY: Final = "at least 0 and at most 86400"

Call = Callable[[Any], Any]


async def in_campaign(call: Callable[[Campaign], Any]) -> None:
    """Make a call of a campaign in memory."""
    async with Campaign.open(":memory:") as campaign:
        await call(campaign)


#: Argument -> a call that fails by it alone, the range in words, and what is wrong beside `NO_NUMBERS`.
CALLS: Final[dict[str, tuple[Call, str, tuple[Any, ...]]]] = {
    "lease in a file": (
        lambda value: open_ledger("spring.db", lease=value),
        DAY,
        (0, math.inf, 86_401, 10**400),
    ),
    "lease on Postgres": (lambda value: PostgresLedger.open(POSTGRES, "a", lease=value), DAY, (0, math.inf)),
    "lease on NATS": (lambda value: JetStreamLedger.open(NATS, "a", lease=value), DAY, (0, math.inf)),
    "lease of an inbox": (
        lambda value: MemoryInbox(lease=value),
        "above 0 and at most 1000000000",
        (0, math.inf),
    ),
    "poll of an inbox": (lambda value: MemoryInbox(poll=value), "above 0", (0,)),
    "timeout of PostgresLedger": (
        lambda value: PostgresLedger.open(POSTGRES, "a", timeout=value),
        DAY,
        (0, math.inf),
    ),
    "timeout of PostgresOptOutStore": (
        lambda value: PostgresOptOutStore(POSTGRES, timeout=value),
        DAY,
        (0, math.inf),
    ),
    "timeout of PostgresTrackingStore": (
        lambda value: PostgresTrackingStore(POSTGRES, timeout=value),
        DAY,
        (0, math.inf),
    ),
    "timeout of JetStreamLedger": (
        lambda value: JetStreamLedger.open(NATS, "a", timeout=value),
        DAY,
        (0, math.inf),
    ),
    "timeout of JetStreamOptOutStore": (
        lambda value: JetStreamOptOutStore(NATS, timeout=value),
        DAY,
        (0, math.inf),
    ),
    "timeout of JetStreamTrackingStore": (
        lambda value: JetStreamTrackingStore(NATS, timeout=value),
        DAY,
        (0, math.inf),
    ),
    "connections of PostgresLedger": (
        lambda value: PostgresLedger.open(POSTGRES, "a", connections=value),
        "from 1 to 10000",
        (0, 1.5),
    ),
    "connections of PostgresOptOutStore": (
        lambda value: PostgresOptOutStore(POSTGRES, connections=value),
        "from 1 to 10000",
        (0, 1.5),
    ),
    "connections of PostgresTrackingStore": (
        lambda value: PostgresTrackingStore(POSTGRES, connections=value),
        "from 1 to 10000",
        (0, 1.5),
    ),
    "replicas of JetStreamLedger": (
        lambda value: JetStreamLedger.open(NATS, "a", replicas=value),
        "1, 3 or 5, or None",
        (0, 2, math.inf),
    ),
    "replicas of JetStreamTrackingStore": (
        lambda value: JetStreamTrackingStore(NATS, replicas=value),
        "1, 3 or 5, or None",
        (0, 2, math.inf),
    ),
    "replicas of JetStreamInbox": (
        lambda value: JetStreamInbox(NATS, replicas=value),
        "1, 3 or 5, or None",
        (0, 2, math.inf),
    ),
    "max_bytes of JetStreamLedger": (
        lambda value: JetStreamLedger.open(NATS, "a", max_bytes=value),
        "at least 1",
        (0, 1.5),
    ),
    "busy_timeout of SqliteLedger": (
        lambda value: SqliteLedger.open("spring.db", busy_timeout=value),
        UP_TO_A_DAY,
        (math.inf,),
    ),
    "busy_timeout of OptOutList": (
        lambda value: OptOutList.open("opt-outs.db", busy_timeout=value),
        UP_TO_A_DAY,
        (math.inf,),
    ),
    "busy_timeout of SqliteOptOutStore": (
        lambda value: SqliteOptOutStore("opt-outs.db", busy_timeout=value),
        UP_TO_A_DAY,
        (math.inf,),
    ),
    "busy_timeout of SqliteTrackingStore": (
        lambda value: SqliteTrackingStore("tracking.db", busy_timeout=value),
        UP_TO_A_DAY,
        (math.inf,),
    ),
    "busy_timeout of SqliteInbox": (
        lambda value: SqliteInbox("inbox.db", busy_timeout=value),
        UP_TO_A_DAY,
        (math.inf,),
    ),
    "limit of Campaign.open": (lambda value: in_opened(limit=value), "at least 1", (0, 1.5, math.inf)),
    "start_at of Campaign.open": (lambda value: in_opened(start_at=value), "at least 0", ()),
    "send_until of Campaign.open": (lambda value: in_opened(send_until=value), "at least 0", ()),
    "rate of Campaign.retune": (
        lambda value: in_campaign(lambda campaign: campaign.retune(rate=value)),
        "above 0 sends per second",
        (0, math.inf),
    ),
    "limit of Campaign.retune": (
        lambda value: in_campaign(lambda campaign: campaign.retune(limit=value)),
        "at least 1",
        (0, 1.5),
    ),
    "timeout of Campaign.wait": (
        lambda value: in_campaign(lambda campaign: campaign.wait(timeout=value)),
        "at least 0, or None",
        (),
    ),
    "keep_unmatched of CampaignCallbacks": (
        lambda value: CampaignCallbacks(MemoryLedger(), keep_unmatched=value),
        "at least 0",
        (),
    ),
    "max_unmatched of CampaignCallbacks": (
        lambda value: CampaignCallbacks(MemoryLedger(), max_unmatched=value),
        "at least 0",
        (1.5,),
    ),
    "limit of OptOutList.list": (lambda value: OptOutList().list(limit=value), "from 1 to", (0, 1.5)),
}


async def in_opened(**settings: Any) -> None:
    """Open a campaign in memory."""
    async with Campaign.open(":memory:", **settings):
        pass


async def called(call: Call, value: Any) -> None:
    """Make a call, and await what it returns."""
    found = call(value)
    if inspect.isawaitable(found):
        await found


@pytest.mark.parametrize("name", CALLS)
async def test_a_number_that_cannot_be_used_is_refused(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The error is the package's own, and names the argument and the range."""
    monkeypatch.chdir(tmp_path)
    call, rule, wrong = CALLS[name]
    words = rf"^{name.partition(' ')[0]} must be .*{re.escape(rule)}"
    for value in (*NO_NUMBERS, *wrong):
        with pytest.raises((ConfigurationError, ReceiverConfigurationError), match=words):
            await called(call, value)

    assert [*Path().iterdir()] == []  # noqa: ASYNC240 - a look at an empty folder
