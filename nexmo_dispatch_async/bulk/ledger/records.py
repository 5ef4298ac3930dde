"""The data of a campaign: recipients, claimed rows, results, news, counts and controls.

The module has no database and sends nothing: `ledger` is the protocol of a store for these records.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from decimal import Decimal
from typing import Any, Literal, get_args

from msgspec import Struct, field
from msgspec.structs import replace

from nexmo_dispatch_async.checks import checks
from nexmo_dispatch_async.models.shown import AsShown
from nexmo_dispatch_core.checks import LARGEST

__all__ = [
    "SKIP_REASONS",
    "STATES",
    "Added",
    "Bounds",
    "Cap",
    "ClaimRequest",
    "Claimed",
    "Control",
    "Counts",
    "Droppable",
    "Life",
    "News",
    "Observed",
    "Recipient",
    "Resendable",
    "Result",
    "Row",
    "SkipReason",
    "State",
    "Suppressed",
]

#: `pending`: not sent yet. `sending`: committed before the POST; after a crash the row becomes `unknown`,
#: never `pending`. `sent`: the service accepted the workflow. `refused`: the service or a rule refused the
#: workflow. `unknown`: bytes left and no response arrived. `skipped`: not sent on purpose, see `SkipReason`.
State = Literal["pending", "sending", "sent", "refused", "unknown", "skipped"]
STATES: tuple[State, ...] = get_args(State)
#: The states from which an operator sends a row again.
Resendable = Literal["unknown", "refused"]
#: The states from which an operator gives a row up.
Droppable = Literal["unknown", "pending"]

#: `suppressed`: the address is on the opt-out list. `capped`: the person has got the maximum number of
#: messages. `expired`: the row expired before its turn. `hold_out`: the row is in the control group.
#: `dropped`: an operator gave the row up. `excluded`: another campaign sent to the person. Stores keep the
#: position of a reason in this list, so a new reason must be the last.
SkipReason = Literal["suppressed", "capped", "expired", "hold_out", "dropped", "excluded"]
SKIP_REASONS: tuple[SkipReason, ...] = get_args(SkipReason)


class _Private(AsShown, Struct, frozen=True):
    """Base of records with personal data: the `repr` shows the id or the line, never a person."""

    def __repr__(self) -> str:
        return f"<{type(self).__name__}>"


class Recipient(_Private, frozen=True, kw_only=True):
    """One row of a campaign as added; it never changes.

    Attributes:
        key: The unique key of the row in the campaign; by default the address.
        address: Normalised address of the first step: digits only, or a user id (contract 3.3, 5.5).
        fields: The values that the template reads, by name.
        bucket: The unit of its rate: channel and sender of the first step, `"whatsapp|447418342140"`.
        line: Line of the source, from 1; 0 without a line.
        zone: IANA name of the person's time zone, or `""` for that of the campaign.
        language: Language of the message, or `""`.
        variant: Name of the variant, or `""`.
        channels: Channels in the row's own order; empty for that of the template.
        not_before: Epoch seconds before which the row is not claimed.
        expires: Epoch seconds from which the row is skipped as `expired`.
        skip: Reason to skip the row from the beginning, such as `hold_out`.
        others: Further addresses of the person, where later steps go. The row does not store them: a campaign
            links them on its opt-out list.
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
    others: tuple[str, ...] = ()


class Added(Struct, frozen=True):
    """The result of one `add`.

    Attributes:
        added: Number of new rows.
        duplicates: Positions, from 0, of the given rows whose key was known.
    """

    added: int
    duplicates: tuple[int, ...] = ()


class Cap(Struct, frozen=True):
    """Maximum number of messages to a person in a rolling window, over all campaigns that share the list.

    Attributes:
        messages: Maximum number of messages.
        window: Length of the window in seconds.
        over: `skip` the row as `capped`, or `defer` it until the window allows it.

    Raises:
        ConfigurationError: A value is of another type or out of its range.
    """

    messages: int
    window: float
    over: Literal["skip", "defer"] = "skip"

    def __post_init__(self) -> None:
        checks.count("Cap.messages", self.messages, most=LARGEST)
        checks.seconds("Cap.window", self.window, zero=False)
        checks.choice("Cap.over", self.over, ("skip", "defer"))


class ClaimRequest(Struct, frozen=True, kw_only=True):
    """The rows that a claim requests.

    Attributes:
        buckets: Maximum number of rows by bucket, 0 for other buckets; `None` for all buckets, limited only
            by `limit`.
        limit: Maximum number of rows in total.
        now: Epoch seconds.
        closed_zones: Zones in which nothing is sent now (quiet hours).
        cap: The cap for each person, or `None`.
        bounds: The limits of the campaign over all workers, or `None`.

    Raises:
        ConfigurationError: `now` is no finite number, or beyond the year 9999.
    """

    limit: int
    now: float
    buckets: dict[str, int] | None = None
    closed_zones: frozenset[str] = frozenset()
    cap: Cap | None = None
    bounds: Bounds | None = None

    def __post_init__(self) -> None:
        checks.epoch("ClaimRequest.now", self.now)

    def within(self, counts: Counts) -> ClaimRequest:
        """Return the request with the limit that the bounds leave.

        Args:
            counts: Counts in the transaction of the claim, its results included. No other claim with bounds
                may be between them and the end of the transaction.
        """
        if self.bounds is None:
            return self
        return replace(self, limit=min(self.limit, self.bounds.room(counts)))


class Claimed(_Private, frozen=True, kw_only=True):
    """A row in the state `sending`: the caller sends it once and records a `Result`.

    Attributes:
        id: Number of the row in its ledger; the `client_ref` consists of the ledger's `reference` and the id.
        attempts: Number of claims, including this one.
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
    """The result of one POST.

    Attributes:
        id: Number of the row.
        state: `sent`, `refused` or `unknown`; `pending` only for a request that was provably not sent.
        at: Epoch seconds.
        dispatch_uuid: Id of the workflow of a `sent` row.
        error: Name of the error class; of a `refused` row also its reason, `"BadRequestError: Invalid params
            (from)"`. It is without personal data.
        code: Error code of the service, or `""`.
        not_before: For a `pending` row: epoch seconds before which the row is not claimed again.
        attempts: The `attempts` of the `Claimed`; 0 when unknown. A late result of an earlier claim settles
            nothing after the row was claimed again; `sent` is kept as a proof.
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
    """The facts from callbacks about a row, folded by tracking; a store keeps the combined news.

    Attributes:
        dispatch_uuid: Id of the workflow.
        client_ref: The reference in a status; it proves to which row a workflow belongs.
        ended: Whether the final report has arrived.
        reached: `read`, `delivered` or `""`.
        channel: Channel where the person read, or else that reached the person, or `""`.
        delivered_at: Epoch seconds, or `None`.
        read_at: Epoch seconds, or `None`.
        cost: The cost so far as exact decimal text, or `""`.
        currency: Currency of the cost, or `""`.
        code: Code of the last error, or `""`.
        steps: The underlying facts, as JSON; `folding` writes and reads them.
        at: Epoch seconds of the newest callback.
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
    """The result of one `observe`.

    Attributes:
        changed: Number of changed rows.
        unmatched: Positions, from 0, of the given news that belong to no row: news of another campaign, or of
            a row whose result is not recorded yet. The caller may pass them again later.
    """

    changed: int
    unmatched: tuple[int, ...] = ()


class Row(_Private, frozen=True, kw_only=True):
    """One row with everything that its ledger stores, for lists, reports and exports.

    Attributes:
        changed: Epoch seconds of the last change of `state`.
        address: The address; `""` after `forget`, with empty `fields`.
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
    """The counts of a campaign, derived from its rows; `Ledger.counts(verify=True)` recounts them.

    Attributes:
        states: Number of rows by state.
        skipped: Number of skipped rows by reason.
        ended: Number of rows with a final report.
        reached: Number of rows by result, `read` or `delivered`.
        cost: Total cost by currency, as exact decimal text.
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
    def sends(self) -> int:
        """Number of rows whose person got a message, gets one, or may have got one."""
        return sum(self.states.get(state, 0) for state in ("sending", "sent", "refused", "unknown"))

    @property
    def open(self) -> int:
        """Number of rows that are `pending` or `sending`: a campaign with none has sent all it will."""
        return self.states.get("pending", 0) + self.states.get("sending", 0)


class Bounds(Struct, frozen=True, kw_only=True):
    """The limits of a campaign over all workers, which no claim exceeds.

    Attributes:
        sends: Maximum number of rows that are sent or may be: those of the canary; `None` for no maximum.
        spend: Maximum cost; `None` for no maximum.
        worst: Worst cost of one row.
        currency: Currency of both.
        rows: Number of rows that `worst` is of: while there are more, none is claimed; `None` for all.
    """

    sends: int | None = None
    spend: Decimal | None = None
    worst: Decimal = Decimal(0)
    currency: str = ""
    rows: int | None = None

    def room(self, counts: Counts) -> int:
        """Return how many more rows may be claimed."""
        if self.rows is not None and counts.total > self.rows:
            return 0
        rooms = [_UNBOUNDED]
        if self.sends is not None:
            rooms.append(self.sends - counts.sends)
        if self.spend is not None:
            free = self.spend - self.spent(counts) - self.worst * self.may_cost(counts)
            rooms.append(int(free / self.worst))
        return max(0, min(rooms))

    def spent(self, counts: Counts) -> Decimal:
        """Return the cost according to callbacks so far."""
        return Decimal(counts.cost.get(self.currency, "0"))

    @staticmethod
    def may_cost(counts: Counts) -> int:
        """Return how many rows may still be charged."""
        # The cost of rows that have not ended counts twice, so the worst case is never too small.
        states = counts.states
        sent, sending, unknown = (states.get(state, 0) for state in ("sent", "sending", "unknown"))
        return max(sent - counts.ended, 0) + sending + unknown


_UNBOUNDED = 1 << 60


class Life(Struct, frozen=True):
    """Which processes send for a campaign in a store that several share.

    Attributes:
        senders: Processes that showed life within the last seconds.
        seen: Seconds since the last sign of life of any process; `None` without a process.
        silent: Rows in flight of processes that show no life.
        silent_for: Seconds since the last sign of life of these processes.
        remaining: Seconds until the last of them counts as dead, and its rows as `unknown`; `None` where that
            begins with the next run.
    """

    senders: int = 0
    seen: float | None = None
    silent: int = 0
    silent_for: float = 0.0
    remaining: float | None = 0.0


class Control(Struct, frozen=True, kw_only=True):
    """The control state of a campaign, set by operators; every worker follows it.

    Attributes:
        version: Increases with every change.
        state: `run`, `pause` (claim nothing) or `stop` (claim nothing, drain, end).
        by: Origin of the last change, such as `command` or `abort_if`; `""` at the beginning.
        reason: Reason in words, for `status`.
        since: Epoch seconds of the beginning of a pause; `None` without one, or where it is not known.
        rate: Sends per second of the whole campaign; `None` for the rate of the plan.
        limit: Sends in flight per worker; `None` for the limit of the plan.
        release: Whether the canary is released.
        resumed: Number of times that operators resumed the campaign. With each, waits that the service caused
            end: one send is tried at once.
        held: Whether it was paused when it was stopped: the next run begins with that pause.
        forgot: Whether `bulk forget` erased people: the list is not read again, where they would be new.
    """

    version: int = 0
    state: Literal["run", "pause", "stop"] = "run"
    by: str = ""
    reason: str = ""
    since: float | None = None
    rate: float | None = None
    limit: int | None = None
    release: bool = False
    resumed: int = 0
    held: bool = False
    forgot: bool = False

    def changed(self, change: Change) -> Control:
        """Return what a change makes of it: with the next version, unless the change leaves it as it is."""
        new = change(self)
        # a subclass of `str` is text that JSON does not take
        by, reason = str.__str__(new.by), str.__str__(new.reason)
        new = replace(new, version=self.version, by=by, reason=reason)
        return self if new == self else replace(new, version=self.version + 1)

    def asked(self, at: float | None = None, **changes: Any) -> Control:  # Any: the values of fields
        """Return what holds after a word of an operator; one that resumes counts.

        Args:
            at: Epoch seconds of the word.
            **changes: Fields with their new values.
        """
        if "state" in changes:
            since = at if self.since is None else self.since
            changes |= {
                "held": False,
                "resumed": self.resumed + (changes["state"] == "run"),
                "since": since if changes["state"] == "pause" else None,
            }
        return replace(self, **changes)

    def paused(self, by: str, reason: str, at: float | None = None) -> Control:
        """Return what holds after a pause by the campaign itself: a word of an operator outlasts it.

        Args:
            by: Origin of the pause.
            reason: Reason in words.
            at: Epoch seconds of the pause.
        """
        if self.state == "run":
            return replace(self, state="pause", by=by, reason=reason, since=at)
        if self.state == "stop" and not self.held:
            return replace(self, by=by, reason=reason, held=True, since=at)
        return self

    def stopped(self, by: str, reason: str) -> Control:
        """Return what holds after a stop: a pause outlasts it, with its origin and reason."""
        if self.state == "pause" or self.held:
            return replace(self, state="stop", held=True)
        return replace(self, state="stop", by=by, reason=reason)

    def begun(self) -> Control:
        """Return what holds when a run begins: a stop is over, a pause is not.

        A budget that was spent is looked at anew, since the run may have a higher one.
        """
        if self.state == "run":
            return self
        if (self.state == "pause" or self.held) and self.by != "max_spend":
            return replace(self, state="pause", held=False)
        return replace(self, state="run", by="", reason="", held=False, since=None)


#: What an operator, or the campaign itself, makes of the control state.
Change = Callable[[Control], Control]


class Suppressed(AsShown, Struct, frozen=True, kw_only=True):
    """One entry of the opt-out list.

    Attributes:
        address: Digits, or a user id.
        reason: Reason of the entry, such as `stop` or `1240`; no personal data.
        at: Time of the entry, in epoch seconds.
    """

    address: str
    reason: str
    at: float

    def __repr__(self) -> str:
        return f"<Suppressed reason={self.reason!r}>"
