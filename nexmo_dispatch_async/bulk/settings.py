"""The settings of a campaign as typed structs, with one unit each: seconds, epoch seconds, shares.

The module reads no file: `campaign_file` turns TOML into these structs, and Python callers may create them.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from decimal import Decimal
from typing import Any, Final, Literal

from msgspec import Struct, field

from nexmo_dispatch_async.bulk.ledger.records import Cap
from nexmo_dispatch_async.checks import checks
from nexmo_dispatch_async.exceptions import ConfigurationError
from nexmo_dispatch_core.checks import LARGEST

__all__ = [
    "ALL_REFUSED",
    "AbortIf",
    "CampaignSettings",
    "Canary",
    "Columns",
    "Duplicates",
    "Pace",
    "PeopleSettings",
    "QuietHours",
    "Rate",
    "SameAddress",
    "Source",
    "TariffSettings",
    "Variants",
]


Duplicates = Literal["first", "error", "allow"]
SameAddress = Literal["allow", "first"]


class Rate(Struct, frozen=True):
    """One stage of a pace.

    Attributes:
        per_second: Sends per second, above 0.
        seconds: Duration of the stage; infinite for the last stage.
    """

    per_second: float
    seconds: float = math.inf


class Pace(Struct, frozen=True, kw_only=True):
    """The pace of a campaign.

    Attributes:
        rates: Stages in order; several are a ramp; empty for as fast as the service allows.
        over: Seconds over which all rows are spread evenly; `None` for no spreading. The slower pace counts.
        limit: Maximum number of sends in flight, at least 1.
        by_bucket: Sends per second of single buckets, such as `{"whatsapp|447418342140": 20.0}` or
            `{"whatsapp": 20.0}` for all senders of a channel.
    """

    rates: tuple[Rate, ...] = ()
    over: float | None = None
    limit: int = 64
    by_bucket: dict[str, float] = field(default_factory=dict[str, float])

    def seconds(self, rows: int) -> float:
        """Return the seconds for `rows` sends at this pace, without quiet hours; 0 without a limit."""
        rest, total = float(rows), 0.0
        for rate in self.rates:
            fits = rate.per_second * rate.seconds
            if fits >= rest:
                total += rest / rate.per_second
                break
            rest -= fits
            total += rate.seconds
        return max(total, self.over or 0.0)


class QuietHours(Struct, frozen=True):
    """The hours without sends, in the recipient's local time.

    Attributes:
        begin: Begin of the quiet hours in minutes after midnight, from 0 to 1439.
        end: End of the quiet hours in minutes after midnight; below `begin`, on the next day.
        days: Weekdays that are quiet all day, from 0 for Monday.

    Raises:
        ConfigurationError: A time is no whole number from 0 to 1439, *days* is no set of numbers from 0 to 6,
            or all seven.
    """

    begin: int
    end: int
    days: frozenset[int] = frozenset()

    def __post_init__(self) -> None:
        for name in ("begin", "end"):
            minutes = "write minutes after midnight, 21 * 60 for 21:00"
            checks.count(f"QuietHours.{name}", getattr(self, name), least=0, most=1439, advice=minutes)
        checks.instance("QuietHours.days", self.days, AbstractSet, advice="write frozenset({6}) for Sundays")
        for day in self.days:
            checks.count("QuietHours.days", day, least=0, most=6, advice="0 is Monday, 6 is Sunday")
        if len(self.days) == 7:
            raise ConfigurationError("QuietHours.days must leave a weekday, or nothing would ever be sent")


class Canary(Struct, frozen=True):
    """The first rows, after which the campaign waits.

    Attributes:
        first: Number of rows, at least 1.
        until: `word`: until an operator releases it. `delivered`: until `share` of the first rows are
            delivered, or an operator releases it.
        share: Above 0 and at most 1.
        within: Seconds after which a campaign that has not reached the share pauses with that reason.

    Raises:
        ConfigurationError: A value is of another type or out of its range.
    """

    first: int
    until: Literal["word", "delivered"] = "word"
    share: float = 0.9
    within: float = 3600.0

    def __post_init__(self) -> None:
        checks.count("Canary.first", self.first)
        checks.choice("Canary.until", self.until, ("word", "delivered"))
        checks.share("Canary.share", self.share)
        checks.seconds("Canary.within", self.within)


class AbortIf(Struct, frozen=True):
    """The shares of failures among the last `last` results at which a campaign pauses.

    Attributes:
        refused: Share of refused rows, above 0 and at most 1; `None` for no limit.
        unknown: Share of unknown rows, above 0 and at most 1; `None` for no limit.
        last: Number of results that count, and minimum number of results, at least 1.

    Raises:
        ConfigurationError: A value is of another type or out of its range.
    """

    refused: float | None = None
    unknown: float | None = None
    last: int = 200

    def __post_init__(self) -> None:
        checks.share("AbortIf.refused", self.refused, none=True)
        checks.share("AbortIf.unknown", self.unknown, none=True)
        checks.count("AbortIf.last", self.last, most=LARGEST)


#: No list is refused row by row: then the sender, the template or the account is wrong.
ALL_REFUSED: Final = AbortIf(refused=1.0, last=50)


class PeopleSettings(Struct, frozen=True):
    """The opt-out list, the cap per person, and excluded recipients.

    Attributes:
        file: SQLite file with the opt-out list and the history of contacts, `""` for that of the campaign.
        cap: Maximum number of messages to a person within a rolling window.
        exclude: Ledgers of other campaigns, whose recipients are skipped.
        stop_words: Replies that opt their sender out, beside `stop`, `stopall` and `unsubscribe`.
    """

    file: str = ""
    cap: Cap | None = None
    exclude: tuple[str, ...] = ()
    stop_words: tuple[str, ...] = ()


class Source(Struct, frozen=True):
    """Where the rows come from.

    Attributes:
        file: Path of the file, relative to the campaign file.
        format: Of the file; `""` goes by the ending of its name.
        delimiter: Of a CSV; `""` looks at the first lines.
        sheet: Name of the Excel sheet, `""` for the first one.
        encoding: Of a text file, such as `cp1252`; `""` for UTF-8, or UTF-16 if its mark stands there.
    """

    file: str
    format: Literal["", "csv", "tsv", "jsonl", "xlsx"] = ""
    delimiter: Literal["", ",", ";", "\t", "|"] = ""
    sheet: str = ""
    encoding: str = ""


class Columns(Struct, frozen=True, kw_only=True):
    """Which columns say something besides what the template reads; `""` for none.

    Attributes:
        key: What makes a row unique, instead of the address of the first step.
        channels: Channels in the row's own order, separated by blanks, commas or `>`.
        language: Language of the message.
        variant: Name of the variant, instead of the hash.
        zone: IANA name of the time zone.
        not_before: Time before which the row is not sent, ISO 8601.
        expires: Time from which the row is no longer sent, ISO 8601.
    """

    key: str = ""
    channels: str = ""
    language: str = ""
    variant: str = ""
    zone: str = ""
    not_before: str = ""
    expires: str = ""


class Variants(Struct, frozen=True, kw_only=True):
    """Which people get which variant, and who gets none.

    Attributes:
        shares: Weight of each variant by name, above 0; the hash of the key decides.
        hold_out: Share of the people, from 0 to below 1, who get nothing, to compare with.
        salt: Text that goes into the hash: another one deals the people anew.
    """

    shares: dict[str, float] = field(default_factory=dict[str, float])
    hold_out: float = 0.0
    salt: str = ""

    def __post_init__(self) -> None:
        if not 0 <= self.hold_out < 1:
            raise ConfigurationError("Variants.hold_out must be from 0 to below 1, for example 0.1 for 10 %")
        for name, weight in self.shares.items():
            if not name or not 0 < weight < math.inf:
                raise ConfigurationError(
                    "each share of Variants needs a name and a weight above 0, for example {'a': 1, 'b': 1}"
                )


class CampaignSettings(Struct, frozen=True, kw_only=True):
    """Everything that a campaign file says.

    Attributes:
        name: For status and report.
        ledger: Path of the ledger, or `postgresql://…?campaign=name`, or `nats://…?campaign=name`.
        source: Where the rows come from.
        template: The tables of the template as they stand in the file; `campaign_file` builds it.
        columns: Columns with a meaning.
        country: ISO 3166 code of the country of numbers that are written without one, `""` for none.
        duplicates: What becomes of a second row with the same key.
        same_address: What becomes of a row with the address of an earlier row and another key.
        channel_orders: The order of channels that a cell of the column `channels` stands for, by its content.
        strict: Nothing starts while a row is rejected.
        variants: Variants and hold-out.
        zone: IANA name of the zone of the campaign: local times in the file, people without a zone.
        zone_by_number: Take the zone of a person whose row names none from the number (extra `phone`).
        start_at: Epoch seconds, or `None` for at once.
        send_until: Epoch seconds from which nothing is sent, or `None`.
        pace: Rate, ramp, spread, limit.
        quiet: Quiet hours, or `None`.
        canary: The first rows, or `None`.
        max_spend: Most that the campaign may cost, or `None`.
        abort_if: When it pauses by itself; `None` for never, by default after 50 refused rows in a row.
        people: Opt-out list, cap, exclusions.
        tariff: Prices as `Tariff` takes them, with `fee` and `currency`; `None` for no tariff.
        text: The campaign file without the URL of its store; a ledger on Postgres keeps it for workers.

    Raises:
        ConfigurationError: `pace`, `quiet`, `canary`, `abort_if` or `people` is of another type.
    """

    name: str
    ledger: str
    source: Source
    template: Mapping[str, Any] = field(default_factory=dict[str, Any])  # Any: TOML, judged when it is built
    columns: Columns = Columns()
    country: str = ""
    duplicates: Duplicates = "first"
    same_address: SameAddress = "allow"
    channel_orders: dict[str, str] = field(default_factory=dict[str, str])
    strict: bool = False
    variants: Variants = Variants()
    zone: str = "UTC"
    zone_by_number: bool = False
    start_at: float | None = None
    send_until: float | None = None
    pace: Pace = Pace()
    quiet: QuietHours | None = None
    canary: Canary | None = None
    max_spend: Decimal | None = None
    abort_if: AbortIf | None = ALL_REFUSED
    people: PeopleSettings = PeopleSettings()
    tariff: TariffSettings | None = None
    text: str = ""

    def __post_init__(self) -> None:
        checks.instance("pace", self.pace, Pace, advice="write Pace(…)")
        checks.instance("people", self.people, PeopleSettings, advice="write PeopleSettings(…)")
        if self.quiet is not None:
            checks.instance("quiet", self.quiet, QuietHours, advice="write QuietHours(21 * 60, 9 * 60)")
        if self.canary is not None:
            checks.instance("canary", self.canary, Canary, advice="write Canary(first=100)")
        if self.abort_if is not None:
            checks.instance("abort_if", self.abort_if, AbortIf, advice="write AbortIf(refused=0.05)")

    # The URL of a store holds a password, and the text holds numbers.
    def __rich_repr__(self) -> list[tuple[str, str]]:
        return [("name", self.name)]

    def __repr__(self) -> str:
        return f"<CampaignSettings {self.name!r}>"


class TariffSettings(Struct, frozen=True, kw_only=True):
    """Prices as decimal text, as `Tariff` takes them.

    Attributes:
        prices: By channel: one price, or prices by calling code.
        fee: Charged once per workflow.
        currency: Of all amounts, `max_spend` too.
    """

    prices: dict[str, str | dict[str, str]]
    fee: str = "0.002"
    currency: str = "EUR"
