"""The tables of campaigns and opt-out lists in Postgres, and `Work`: one transaction of a ledger.

Recipients are written once; states are small and change, and partial indexes find those that are ready. The
numbers of a campaign are kept in shards, one for each process, so that no two processes wait for one row.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Any, Final, LiteralString

from nexmo_dispatch_async.bulk.ledger.transitions import Tally
from nexmo_dispatch_core.postgres.database import Connection
from nexmo_dispatch_core.postgres.schema import Component

__all__ = ["CAMPAIGNS", "NOW", "Work", "fetch", "tally_of"]

CAMPAIGNS: Final = Component(
    "campaigns",
    (
        """
CREATE TABLE nexmo_dispatch.people_lists (
    id integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY, name text NOT NULL UNIQUE
);
CREATE TABLE nexmo_dispatch.people_suppressed (
    list integer NOT NULL, address text NOT NULL, reason text NOT NULL, at double precision NOT NULL,
    PRIMARY KEY (list, address)
);
CREATE TABLE nexmo_dispatch.people_contacts (
    list integer NOT NULL, address text NOT NULL, at double precision NOT NULL, source text NOT NULL,
    PRIMARY KEY (list, address, at, source)
);
CREATE TABLE nexmo_dispatch.people_same (
    list integer NOT NULL, address text NOT NULL, person text NOT NULL, PRIMARY KEY (list, address)
);
CREATE INDEX people_by_person ON nexmo_dispatch.people_same (list, person);
CREATE TABLE nexmo_dispatch.campaigns (
    id integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name text NOT NULL UNIQUE,
    reference text NOT NULL,
    plan bytea NOT NULL DEFAULT '',
    control bytea,
    last bigint NOT NULL DEFAULT 0
);
CREATE TABLE nexmo_dispatch.campaign_lanes (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    campaign integer NOT NULL, bucket text NOT NULL, zone text NOT NULL, UNIQUE (campaign, bucket, zone)
);
CREATE TABLE nexmo_dispatch.campaign_recipients (
    campaign integer NOT NULL, id bigint NOT NULL, key text, address text NOT NULL, fields bytea,
    line integer NOT NULL, language text NOT NULL, variant text NOT NULL, channels text[] NOT NULL,
    PRIMARY KEY (campaign, id)
);
CREATE UNIQUE INDEX campaign_keys ON nexmo_dispatch.campaign_recipients (campaign, key)
    WHERE key IS NOT NULL;
CREATE TABLE nexmo_dispatch.campaign_states (
    campaign integer NOT NULL, id bigint NOT NULL, state smallint NOT NULL, lane bigint NOT NULL,
    not_before double precision NOT NULL, expires double precision NOT NULL,
    attempts integer NOT NULL DEFAULT 0, at double precision NOT NULL DEFAULT 0,
    uuid text NOT NULL DEFAULT '', error text NOT NULL DEFAULT '', code text NOT NULL DEFAULT '',
    skip smallint, worker text NOT NULL DEFAULT '',
    PRIMARY KEY (campaign, id)
) WITH (fillfactor = 60);
CREATE INDEX campaign_ready ON nexmo_dispatch.campaign_states (lane, id) WHERE state = 0;
CREATE INDEX campaign_later ON nexmo_dispatch.campaign_states (campaign, not_before) WHERE state = 1;
CREATE INDEX campaign_expires ON nexmo_dispatch.campaign_states (campaign, expires)
    WHERE state < 2 AND expires < 'infinity';
CREATE INDEX campaign_sending ON nexmo_dispatch.campaign_states (campaign) WHERE state = 2;
CREATE INDEX campaign_uuids ON nexmo_dispatch.campaign_states (campaign, uuid) WHERE uuid <> '';
CREATE TABLE nexmo_dispatch.campaign_news (
    campaign integer NOT NULL, id bigint NOT NULL, ended boolean NOT NULL, reached text NOT NULL,
    cost text NOT NULL, currency text NOT NULL, at double precision NOT NULL, body bytea NOT NULL,
    PRIMARY KEY (campaign, id)
);
CREATE TABLE nexmo_dispatch.campaign_rates (
    campaign integer NOT NULL, name text NOT NULL, due double precision NOT NULL,
    rate double precision NOT NULL,
    PRIMARY KEY (campaign, name)
) WITH (fillfactor = 50);
CREATE TABLE nexmo_dispatch.campaign_pauses (
    campaign integer NOT NULL, name text NOT NULL, until double precision NOT NULL, kind text NOT NULL,
    PRIMARY KEY (campaign, name)
);
CREATE FUNCTION nexmo_dispatch.grant_sends(
    in_campaign integer, of_rate text, wanted integer, per_second double precision, back integer,
    credit double precision, ahead double precision, OUT granted integer, OUT wait double precision
) LANGUAGE plpgsql AS $$
DECLARE
    moment double precision;
    known record;
    first double precision;
BEGIN
    INSERT INTO nexmo_dispatch.campaign_rates (campaign, name, due, rate)
    VALUES (in_campaign, of_rate, 0, per_second) ON CONFLICT DO NOTHING;
    SELECT due, rate INTO known FROM nexmo_dispatch.campaign_rates
    WHERE campaign = in_campaign AND name = of_rate FOR UPDATE;
    moment := extract(epoch FROM clock_timestamp());
    first := known.due;
    IF first > moment AND per_second > known.rate THEN
        first := moment + (first - moment) * known.rate / per_second;
    END IF;
    first := greatest(first - back / per_second, moment - credit);
    wait := first - moment;
    granted := least(wanted, greatest(0, floor((ahead - wait) * per_second + 1e-6) + 1));
    UPDATE nexmo_dispatch.campaign_rates SET due = first + granted / per_second, rate = per_second
    WHERE campaign = in_campaign AND name = of_rate;
END
$$;
CREATE TABLE nexmo_dispatch.campaign_counts (
    campaign integer NOT NULL, shard text NOT NULL, name text NOT NULL, n numeric NOT NULL,
    PRIMARY KEY (campaign, shard, name)
) WITH (fillfactor = 50);
CREATE TABLE nexmo_dispatch.campaign_workers (
    campaign integer NOT NULL, name text NOT NULL,
    seen double precision NOT NULL, until double precision NOT NULL,
    PRIMARY KEY (campaign, name)
);
""",
        "ALTER TABLE nexmo_dispatch.campaigns ADD COLUMN mark bytea",
    ),
)
#: The time of the server, by which processes are alive or dead.
NOW: Final[LiteralString] = "extract(epoch FROM clock_timestamp())::double precision"
# In the order of the names, so that two transactions of one process never wait for each other.
_COUNT: Final[LiteralString] = """
INSERT INTO nexmo_dispatch.campaign_counts AS c (campaign, shard, name, n)
SELECT %s, %s, name, n FROM unnest(%s::text[], %s::numeric[]) AS given (name, n) ORDER BY name
ON CONFLICT (campaign, shard, name) DO UPDATE SET n = c.n + excluded.n
"""


class Work:
    """One transaction of a ledger: its connection, and how it changes the numbers.

    Args:
        connection: In a transaction.
        campaign: Number of the campaign.
        opt_outs: Number of the opt-out list.
        shared: Whether other campaigns count the messages to a person as well.
        reference: Of the ledger.
        instance: Name of this process in the campaign.
    """

    def __init__(
        self,
        connection: Connection,
        *,
        campaign: int,
        opt_outs: int,
        shared: bool,
        reference: str,
        instance: str,
    ) -> None:
        self.connection: Connection = connection
        self.campaign: int = campaign
        self.opt_outs: int = opt_outs
        self.shared: bool = shared
        self.reference: str = reference
        self.instance: str = instance
        self.tally: Tally = Tally()

    async def execute(self, text: LiteralString, **values: object) -> int:
        """Run a statement with the campaign and the opt-out list as parameters; return the number of rows."""
        values |= {"campaign": self.campaign, "opt_outs": self.opt_outs}
        return (await self.connection.execute(text, values)).rowcount

    async def fetch(self, text: LiteralString, **values: object) -> list[Any]:  # Any: columns
        """Read rows with the campaign and the opt-out list as parameters."""
        values |= {"campaign": self.campaign, "opt_outs": self.opt_outs}
        return await fetch(self.connection, text, values)

    async def count(self) -> None:
        """Write how the numbers change; the last statement of the transaction."""
        changes = {name: n for name, n in _named(self.tally).items() if n}
        if changes:
            values = (self.campaign, self.instance, list(changes), [Decimal(n) for n in changes.values()])
            await self.connection.execute(_COUNT, values)

    def source(self, row_id: int) -> str:
        """Return the `client_ref` of a row."""
        return f"{self.reference}-{row_id}"


async def fetch(
    connection: Connection, text: LiteralString, values: dict[str, Any]
) -> list[Any]:  # Any, twice: parameters and columns
    """Read rows."""
    cursor = connection.cursor(binary=True)
    await cursor.execute(text, values)
    return await cursor.fetchall()


def tally_of(counted: Sequence[tuple[str, Decimal]]) -> Tally:
    """Return numbers from their names."""
    tally = Tally()
    for name, n in counted:
        kind, _, rest = name.partition(":")
        if kind == "state":
            tally.states[rest] = int(n)
        elif kind == "skipped":
            tally.skipped[rest] = int(n)
        elif kind == "reached":
            tally.reached[rest] = int(n)
        elif kind == "ended":
            tally.ended = int(n)
        else:
            tally.cost[rest] = n
    return tally


def _named(tally: Tally) -> dict[str, int | Decimal]:
    named: dict[str, int | Decimal] = {"ended": tally.ended}
    named.update({f"state:{name}": n for name, n in tally.states.items()})
    named.update({f"skipped:{name}": n for name, n in tally.skipped.items()})
    named.update({f"reached:{name}": n for name, n in tally.reached.items()})
    named.update({f"cost:{name}": n for name, n in tally.cost.items()})
    return named
