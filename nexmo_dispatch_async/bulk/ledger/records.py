"""The data of a campaign: what is frozen of a recipient, what a claim hands out, what comes back.

It holds no database and sends nothing: `ledger` says what a store promises of these records.
"""

from __future__ import annotations

import math
from typing import Literal, get_args

from msgspec import Struct, field

from nexmo_dispatch_async.models.shown import AsShown

__all__ = [
    "SKIP_REASONS",
    "STATES",
    "Added",
    "Cap",
    "Claimed",
    "Control",
    "Counts",
    "News",
    "Observed",
    "Recipient",
    "Result",
    "Row",
    "SkipReason",
    "State",
    "Suppressed",
    "Wanted",
]

#: `pending`: not sent yet. `sending`: committed before the POST; after a crash it becomes `unknown`, never
#: `pending`. `sent`: the service accepted it. `refused`: the service or a rule refused it. `unknown`: bytes
#: left and no answer came. `skipped`: not sent on purpose, see `SkipReason`.
State = Literal["pending", "sending", "sent", "refused", "unknown", "skipped"]
STATES: tuple[State, ...] = get_args(State)

#: `suppressed`: the address is on the opt-out list. `capped`: the person got as many messages as the cap
#: allows. `expired`: its time was over before it was its turn. `hold_out`: kept back to compare with.
#: `dropped`: given up by an operator. `excluded`: another campaign sent to the person. Stores keep the place
#: of a reason in this list: a new one goes to its end.
SkipReason = Literal["suppressed", "capped", "expired", "hold_out", "dropped", "excluded"]
SKIP_REASONS: tuple[SkipReason, ...] = get_args(SkipReason)


class _Private(AsShown, Struct, frozen=True):
    """Base of records with personal data: the `repr` shows the id or the line, never a person."""

    def __repr__(self) -> str:
        return f"<{type(self).__name__}>"


class Recipient(_Private, frozen=True, kw_only=True):
    """One row of a campaign as it is added; nothing of it changes afterwards.

    Attributes:
        key: What makes the row unique in the campaign; by default the address.
        address: Normalised address of the first step: digits only, or a user id (contract 3.3, 5.5).
        fields: The values that the template reads, by name.
        bucket: What its rate is counted by: the first step's channel and sender, `"whatsapp|447418342140"`.
        line: Line of the source, from 1; 0 when there is none.
        zone: IANA name of the person's time zone, or `""` for that of the campaign.
        language: Language of the message, or `""`.
        variant: Name of the variant, or `""`.
        channels: Channels in the row's own order; empty for that of the template.
        not_before: Epoch seconds before which it is not claimed.
        expires: Epoch seconds from which it is skipped as `expired`.
        skip: Skipped from the beginning, such as `hold_out`.
    """

    key: str
    address: str
    fields: dict[str, str]
    bucket: str
    line: int = 0
    zone: str = ""
    language: str = ""
    variant: str = ""
    channels: tuple[str, ...] = ()
    not_before: float = 0.0
    expires: float = math.inf
    skip: SkipReason | None = None


class Added(Struct, frozen=True):
    """What became of the rows of one `add`.

    Attributes:
        added: Number of rows that are new.
        duplicates: Positions, from 0, in what was added, of the rows whose key was there already.
    """

    added: int
    duplicates: tuple[int, ...] = ()


class Cap(Struct, frozen=True):
    """At most so many messages to a person within a rolling window, over all campaigns that share a `People`.

    Attributes:
        messages: Number of messages.
        window: Seconds.
        over: `skip` the row as `capped`, or `defer` it until the window allows it.
    """

    messages: int
    window: float
    over: Literal["skip", "defer"] = "skip"


class Wanted(Struct, frozen=True, kw_only=True):
    """Which rows a claim asks for.

    Attributes:
        buckets: Number of rows by bucket; a bucket that is not named gets none. `None` names all buckets,
            then `limit` alone counts.
        limit: Number of rows in all.
        now: Epoch seconds.
        closed_zones: Zones in which nothing is sent now (quiet hours).
        cap: The cap for each person, or `None`.
    """

    limit: int
    now: float
    buckets: dict[str, int] | None = None
    closed_zones: frozenset[str] = frozenset()
    cap: Cap | None = None


class Claimed(_Private, frozen=True, kw_only=True):
    """A row that is `sending` from now on: the caller sends it once and brings a `Result`.

    Attributes:
        id: Number of the row in its ledger; together with the ledger's `reference` it makes the `client_ref`.
        attempts: How often it was claimed, this time included.
    """

    id: int
    key: str
    address: str
    fields: dict[str, str]
    bucket: str
    line: int = 0
    language: str = ""
    variant: str = ""
    channels: tuple[str, ...] = ()
    attempts: int = 1


class Result(Struct, frozen=True, kw_only=True):
    """What became of one POST.

    Attributes:
        id: Number of the row.
        state: `sent`, `refused` or `unknown`; `pending` only for a request that was provably not sent.
        at: Epoch seconds.
        dispatch_uuid: Of a `sent` row.
        error: Name of the error class, without personal data.
        code: Code of the service's error, or `""`.
        not_before: Of a `pending` row: epoch seconds before which it is not claimed again.
        attempts: That of the `Claimed` it answers; 0 when unknown. The result of an earlier claim, which came
            after the row was given up and claimed anew, changes nothing then.
    """

    id: int
    state: Literal["sent", "refused", "unknown", "pending"]
    at: float
    dispatch_uuid: str = ""
    error: str = ""
    code: str = ""
    not_before: float = 0.0
    attempts: int = 0


class News(Struct, frozen=True, kw_only=True):
    """What callbacks tell of a row, folded by tracking; a store keeps the newest state of knowledge.

    Attributes:
        dispatch_uuid: Of the workflow.
        client_ref: The reference that a status repeated; it proves which row an `unknown` was.
        ended: Whether the final report came.
        reached: `read`, `delivered` or `""`.
        channel: Channel that reached the person, or `""`.
        delivered_at: Epoch seconds, or `None`.
        read_at: Epoch seconds, or `None`.
        cost: Exact decimal text of what was charged so far, or `""`.
        currency: Of the cost, or `""`.
        code: Code of the last error, or `""`.
        steps: The facts behind all of it, as JSON; `folding` makes and reads them.
        at: Epoch seconds of the newest callback in it.
    """

    dispatch_uuid: str
    at: float
    client_ref: str = ""
    ended: bool = False
    reached: str = ""
    channel: str = ""
    delivered_at: float | None = None
    read_at: float | None = None
    cost: str = ""
    currency: str = ""
    code: str = ""
    steps: bytes = b""


class Observed(Struct, frozen=True):
    """What became of the news of one `observe`.

    Attributes:
        changed: Number of rows that know more now.
        strangers: Positions, from 0, in what was observed, of the news that belong to no row: of another
            campaign, or of a row whose result is not recorded yet. The caller may bring them again.
    """

    changed: int
    strangers: tuple[int, ...] = ()


class Row(_Private, frozen=True, kw_only=True):
    """Everything that a ledger knows of one row, for lists, reports and exports.

    Attributes:
        changed: Epoch seconds of the last change of `state`.
        address: `""` once it was forgotten; `fields` are empty then.
    """

    id: int
    key: str
    address: str
    fields: dict[str, str]
    bucket: str
    state: State
    line: int = 0
    zone: str = ""
    language: str = ""
    variant: str = ""
    channels: tuple[str, ...] = ()
    not_before: float = 0.0
    expires: float = math.inf
    skip: SkipReason | None = None
    attempts: int = 0
    changed: float = 0.0
    dispatch_uuid: str = ""
    error: str = ""
    code: str = ""
    news: News | None = None


class Counts(Struct, frozen=True, kw_only=True):
    """Numbers of a campaign, derived from its rows; `Ledger.counts(verify=True)` counts them anew.

    Attributes:
        states: Rows by state.
        skipped: Rows by the reason of skipping.
        ended: Rows whose final report came.
        reached: Rows by what they reached, `read` or `delivered`.
        cost: Exact decimal text of the sum of what was charged, by currency.
    """

    states: dict[str, int]
    skipped: dict[str, int] = field(default_factory=dict[str, int])
    ended: int = 0
    reached: dict[str, int] = field(default_factory=dict[str, int])
    cost: dict[str, str] = field(default_factory=dict[str, str])

    @property
    def total(self) -> int:
        """Number of rows."""
        return sum(self.states.values())

    @property
    def open(self) -> int:
        """Number of rows that are `pending` or `sending`: a campaign with none has sent all it will."""
        return self.states.get("pending", 0) + self.states.get("sending", 0)


class Control(Struct, frozen=True, kw_only=True):
    """What operators have asked for; every worker of the campaign follows it.

    Attributes:
        version: Grows with every change.
        state: `run`, `pause` (claim nothing) or `stop` (claim nothing, drain, end).
        by: Who or what asked, such as `command` or `abort_if`; `""` at the beginning.
        reason: In words, for `status`.
        rate: Sends per second of the whole campaign instead of the plan's, or `None`.
        limit: Sends in flight per worker instead of the plan's, or `None`.
        release: Whether the canary may be passed.
    """

    version: int = 0
    state: Literal["run", "pause", "stop"] = "run"
    by: str = ""
    reason: str = ""
    rate: float | None = None
    limit: int | None = None
    release: bool = False


class Suppressed(AsShown, Struct, frozen=True, kw_only=True):
    """One entry of the opt-out list.

    Attributes:
        address: Digits, or a user id.
        reason: Why, such as `stop` or `1240`; no personal data.
        at: Since when, in epoch seconds.
    """

    address: str
    reason: str
    at: float

    def __repr__(self) -> str:
        return f"<Suppressed reason={self.reason!r}>"
