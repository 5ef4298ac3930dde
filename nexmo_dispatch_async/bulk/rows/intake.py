"""Turns each row into a recipient or a reject; nothing is sent and nothing is guessed.

The recipient is final: numbers are normalised, times are epoch seconds, and only the fields that the template
reads are kept.
"""

from __future__ import annotations

import math
import re
from collections.abc import AsyncGenerator, AsyncIterable, Callable, Mapping
from contextlib import aclosing, closing
from datetime import datetime
from functools import lru_cache
from itertools import islice
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple
from zoneinfo import ZoneInfo

import anyio.to_thread
from msgspec import Struct, structs

from nexmo_dispatch_async.bulk.ledger.ledger import TakesRows
from nexmo_dispatch_async.bulk.ledger.records import Recipient
from nexmo_dispatch_async.bulk.rejects import Reject, RejectsFile, RowError
from nexmo_dispatch_async.bulk.rows.additions import TOGETHER, Additions
from nexmo_dispatch_async.bulk.rows.dealing import Dealer
from nexmo_dispatch_async.bulk.rows.number_zones import NumberZones
from nexmo_dispatch_async.bulk.rows.numbers import NO_NUMBER, RowNumbers
from nexmo_dispatch_async.bulk.rows.readers import Numbered, Rows, SourceError, batches, rows_of
from nexmo_dispatch_async.bulk.rows.seen import Seen
from nexmo_dispatch_async.bulk.settings import Columns, Duplicates, SameAddress, Source, Variants
from nexmo_dispatch_async.bulk.templates.rendering import RenderedWorkflow, Renderer, Route
from nexmo_dispatch_async.bulk.units import epoch
from nexmo_dispatch_async.exceptions import ConfigurationError, DispatchError
from nexmo_dispatch_core.unfinished import shows_unfinished

__all__ = ["Intake", "Prepared", "RejectedRowsError", "Taken"]

_BATCH = 2000
_BETWEEN = re.compile(r"[\s,;>|/+]+")
_NICKNAMES = {"viber": "viber_service_msg", "facebook": "messenger", "wa": "whatsapp"}
# Rules of a template about choices of a row, by the setting with the name of the column.
_CHOICES = {"channel": "channels", "failover-missing": "channels", "language": "language"}
_SHOWN = 20


class Prepared(NamedTuple):
    """A row that may be added.

    Attributes:
        recipient: The recipient to add.
        rendered: The workflow that would be sent, without a `client_ref`.
        same_address: Number of earlier rows with the same address and another key.
    """

    recipient: Recipient
    rendered: RenderedWorkflow
    same_address: int


class Taken(Struct, frozen=True, kw_only=True):
    """The result of an intake.

    Attributes:
        rows: Number of rows that were read.
        added: Number of new rows in the ledger.
        already: Number of rows with a key from an earlier intake.
        rejected: Number of rejected rows, including duplicates.
        duplicates: Number of rows with the key of an earlier row of the same source.
        same_address: Number of rows with the address of an earlier row of the same source and another key.
        held_out: Number of added rows that are held out.
        rejects: The first rejects.
    """

    rows: int = 0
    added: int = 0
    already: int = 0
    rejected: int = 0
    duplicates: int = 0
    same_address: int = 0
    held_out: int = 0
    rejects: tuple[Reject, ...] = ()


class RejectedRowsError(DispatchError, ValueError):
    """Rows were rejected, although the campaign requires that none is.

    Attributes:
        taken: The result of the intake.
    """

    def __init__(self, taken: Taken, *, added: bool = False) -> None:
        self.taken = taken
        shown = "".join(
            f"\n  line {r.line}{f', {r.field}' if r.field else ''}: {r.advice} [{r.rule}]"
            for r in taken.rejects
        )
        were = "1 row was" if taken.added == 1 else f"{taken.added} rows were"
        what = f"{were} added and nothing was sent" if added else "nothing was added"
        are = "is" if taken.rejected == 1 else "are"
        super().__init__(f"{taken.rejected} of {taken.rows} rows {are} rejected, {what}:{shown}")
        self._added = added

    def __reduce__(self) -> tuple[Callable[..., RejectedRowsError], tuple[Taken, bool]]:
        return _rejected_rows, (self.taken, self._added)


def _rejected_rows(taken: Taken, added: bool) -> RejectedRowsError:
    return RejectedRowsError(taken, added=added)


class _Draft(NamedTuple):
    """What a renderer reads of a row."""

    fields: Mapping[str, str]
    channels: tuple[str, ...]
    language: str
    variant: str


class Intake:
    """Makes recipients from rows.

    Args:
        template: Makes the workflow of each row.
        columns: Names of the columns with settings of a row, such as its key, time zone or language.
        country: ISO 3166 code of the country of numbers without a country code, `""` for none.
        duplicates: Treatment of a second row with the same key in one source. `first`: the row is rejected.
            `error`: no row is added. `allow`: the row is added.
        same_address: Treatment of a row with the address of an earlier row of the source and another key.
            `allow`: the row is added, and one person gets several messages. `first`: the row is rejected.
        channel_orders: The order of channels that a cell of the column `channels` stands for, such as
            `{"yes": "whatsapp > sms", "no": "sms"}`; other cells are orders themselves.
        variants: Shares of variants, hold-out.
        zone: IANA name of the time zone of local times in rows without a zone.
        zone_by_number: Whether a row without a zone gets the zone of its number (extra `phone`).
        keep: Further columns to store with the row; by default only the fields of the template.

    Raises:
        ConfigurationError: The country or the zone is unknown, or the extra `phone` is missing.
    """

    def __init__(
        self,
        template: Renderer,
        *,
        columns: Columns = Columns(),  # noqa: B008 - frozen
        country: str = "",
        duplicates: Duplicates = "first",
        same_address: SameAddress = "allow",
        channel_orders: Mapping[str, str] = MappingProxyType({}),
        variants: Variants = Variants(),  # noqa: B008 - frozen
        zone: str = "UTC",
        zone_by_number: bool = False,
        keep: tuple[str, ...] = (),
    ) -> None:
        if duplicates not in ("first", "error", "allow"):
            raise ConfigurationError(f'duplicates must be "first", "error" or "allow", not {duplicates!r}')
        if same_address not in ("allow", "first"):
            raise ConfigurationError(f'same_address must be "allow" or "first", not {same_address!r}')
        if not _is_zone(zone):
            raise ConfigurationError(f'zone {zone!r} is no IANA time zone, such as "Europe/Amsterdam"')
        self.template = template
        self._columns = columns
        self._duplicates: Duplicates = duplicates
        self._one_each = same_address == "first"
        # Columns that a ledger stores as they are.
        self._texts = tuple(filter(None, (columns.key, columns.language, columns.variant)))
        self._orders = {cell.strip().lower(): order.lower() for cell, order in channel_orders.items()}
        self._normalize = RowNumbers(country)
        self._dealer = Dealer(variants)
        self._shares = variants.shares
        self._zone = zone
        self._number_zones = NumberZones() if zone_by_number else None
        # Whether rows have no settings of their own, apart from a language: most have none.
        self._plain = not (
            (columns.channels or columns.variant or columns.zone or columns.not_before or columns.expires)
            or zone_by_number
            or variants.shares
            or variants.hold_out
        )
        self._kept = None if template.fields is None else tuple(sorted({*template.fields, *keep}))
        self._numbers = tuple(sorted(template.numbers))
        self._address_name = self._numbers[0] if len(self._numbers) == 1 else "address"

    @shows_unfinished
    def __repr__(self) -> str:
        return f"<Intake for {self.template!r}>"

    async def take(
        self, rows: Rows, ledger: TakesRows, *, strict: bool = False, rejects: RejectsFile | None = None
    ) -> Taken:
        """Add the rows of a source to a ledger; the same or a corrected source adds only new rows.

        Args:
            rows: A file, or an (async) iterable of mappings.
            ledger: The ledger.
            strict: Whether a reject refuses all rows. A source that can be read twice, a file or a list, is
                checked before any row is added; of other iterables the good rows are added, and the error is
                raised at the end.
            rejects: File for the rejected rows.

        Raises:
            RejectedRowsError: Rows were rejected, with `strict` or `duplicates="error"`.
            SourceError: The source cannot be read any further.
            LedgerError: The ledger failed; rows that were added before stay added.
        """
        refuse = strict or self._duplicates == "error"
        twice = isinstance(rows, list | tuple) or (isinstance(rows, str | Path | Source) and _is_file(rows))
        if refuse and twice:
            taken = await self._pass(rows, None, rejects)
            if self._is_refused(taken, strict=strict):
                raise RejectedRowsError(taken)
        taken = await self._pass(rows, ledger, None if refuse and twice else rejects)
        if refuse and self._is_refused(taken, strict=strict):
            raise RejectedRowsError(taken, added=True)
        return taken

    async def prepared(self, rows: Rows) -> AsyncGenerator[tuple[list[Prepared], list[Reject]], None]:
        """Yield the recipients and the rejects of a source, batch by batch.

        The function of a `FunctionTemplate` is called in a worker thread.

        Raises:
            SourceError: The source cannot be read any further, or required columns are missing.
        """
        with Seen() as keys, Seen() as addresses:
            if isinstance(rows, str | Path | Source):
                with closing(self._checked(rows)) as reader:

                    def work() -> tuple[list[Prepared], list[Reject]] | None:
                        lines = list(islice(reader, _BATCH))
                        return self._batch(lines, keys, addresses) if lines else None

                    while (found := await anyio.to_thread.run_sync(work)) is not None:
                        yield found
            else:
                async for lines in batches(rows, _BATCH):
                    yield await anyio.to_thread.run_sync(self._batch, lines, keys, addresses)

    def recipient(self, line: int, fields: Mapping[str, str]) -> tuple[Recipient, RenderedWorkflow]:
        """Return the recipient and the workflow of one row.

        Raises:
            RowError: The row is rejected.
        """
        columns = self._columns
        own = dict(fields)
        for name in self._numbers:
            if value := own.get(name):
                own[name] = self._normalize(value, field=name)
        for name in self._texts:
            if "\0" in own.get(name, ""):
                raise RowError(name, "encoding", "holds a NUL character, which not every ledger can store")
        plain = self._plain
        channels = () if plain else self._channels(own)
        language = own.get(columns.language, "").strip() if columns.language else ""
        variant = "" if plain else self._variant(own)
        kept = own if self._kept is None else {name: own[name] for name in self._kept if name in own}
        draft = _Draft(kept, channels, language, variant)
        try:
            route = self.template.route(draft)
            address = kept.get(route.field, "") if route.field else route.address
            key = self._key(own) if columns.key else address.strip()
            if not variant and self._shares:
                draft = draft._replace(variant=self._dealer.variant(key))
                route = self.template.route(draft)
                address = kept.get(route.field, "") if route.field else route.address
            rendered = self.template.render(draft)
        except RowError as error:
            if error.rule == "field-empty" and error.field in self._numbers:
                # Not the advice for texts: one number instead would get the messages of all such rows.
                raise RowError(error.field, "number-missing", NO_NUMBER) from None
            column = getattr(columns, _CHOICES.get(error.rule, ""), "")
            if not error.field and column:
                advice = error.advice
                if error.rule == "channel":
                    advice += "; channel_orders says what other words in this column stand for"
                raise RowError(column, error.rule, advice) from None
            raise
        zone, begin, end = ("", 0.0, math.inf) if plain else self._times(own, address)
        return (
            Recipient(
                key=key,
                address=address.strip(),
                fields=kept,
                bucket=route.bucket,
                line=line,
                zone=zone,
                language=language,
                variant=draft.variant,
                channels=channels,
                not_before=begin,
                expires=end,
                skip="hold_out" if not plain and self._dealer.is_held_out(key) else None,
                others=_others(route, kept) if route.others else (),
            ),
            rendered,
        )

    def _batch(
        self, lines: list[Numbered], keys: Seen, addresses: Seen
    ) -> tuple[list[Prepared], list[Reject]]:
        good: list[Prepared] = []
        bad: list[Reject] = []
        # Otherwise the key is the address.
        several = bool(self._columns.key) or self._duplicates == "allow"
        for line, fields in lines:
            if isinstance(fields, RowError):
                bad.append(Reject(line, fields.field, fields.rule, fields.advice))
                continue
            try:
                recipient, rendered = self.recipient(line, fields)
            except RowError as error:
                bad.append(Reject(line, error.field, error.rule, error.advice))
                continue
            times = keys.count(recipient.key, line)
            if times > 1 and self._duplicates != "allow":
                where = self._columns.key or self._address_name
                first = keys.first(recipient.key)
                advice = f"came before in this source, in line {first}; only that one is taken"
                bad.append(Reject(line, where, "duplicate", advice))
                continue
            while times > 1:  # "#2" may stand in the source as well
                recipient = structs.replace(recipient, key=f"{recipient.key}#{times}")
                times = keys.count(recipient.key, line)
            same = addresses.count(recipient.address, line) - 1 if several else 0
            if same and self._one_each:
                first = addresses.first(recipient.address)
                advice = f"has the address of line {first} of this source; only that one is taken"
                bad.append(Reject(line, self._address_name, "same-address", advice))
                continue
            good.append(Prepared(recipient, rendered, same))
        return good, bad

    async def _pass(self, rows: Rows, ledger: TakesRows | None, rejects: RejectsFile | None) -> Taken:
        counts = dict.fromkeys(("rows", "rejected", "duplicates", "same_address"), 0)
        first: list[Reject] = []
        # Rows that come one by one from a program are not kept back for others.
        additions = Additions(ledger, _BATCH if isinstance(rows, AsyncIterable) else TOGETHER)
        async with aclosing(self.prepared(rows)) as found:
            try:
                async for good, bad in found:
                    counts["rows"] += len(good) + len(bad)
                    counts["rejected"] += len(bad)
                    counts["duplicates"] += sum(reject.rule == "duplicate" for reject in bad)
                    counts["same_address"] += sum(each.same_address > 0 for each in good)
                    first += bad[: _SHOWN - len(first)]
                    if rejects is not None and bad:
                        await anyio.to_thread.run_sync(rejects.write, bad)
                    await additions.take([each.recipient for each in good])
            except Exception:
                await additions.finish()  # the rows before the one that cannot be read are added
                raise
            else:
                await additions.finish()
            finally:
                await additions.give_up()
        return Taken(
            **counts,
            added=additions.added,
            already=additions.already,
            held_out=additions.held_out,
            rejects=tuple(first),
        )

    def _is_refused(self, taken: Taken, *, strict: bool) -> bool:
        return taken.rejected > 0 if strict else self._duplicates == "error" and taken.duplicates > 0

    def _checked(self, source: str | Path | Source) -> _Reader:
        """Return the rows of a file with the required columns."""
        return _Reader(source, self._needed())

    def _needed(self) -> frozenset[str]:
        named = {
            name for name in (getattr(self._columns, f) for f in self._columns.__struct_fields__) if name
        }
        return self.template.required | named

    def _channels(self, fields: Mapping[str, str]) -> tuple[str, ...]:
        column = self._columns.channels
        if not column:
            return ()
        cell = fields.get(column, "").strip().lower()
        text = self._orders.get(cell, cell).strip()
        return tuple(_NICKNAMES.get(name, name) for name in _BETWEEN.split(text) if name)

    def _variant(self, fields: Mapping[str, str]) -> str:
        column = self._columns.variant
        if not column:
            return ""
        name = fields.get(column, "").strip()
        if name and self._shares and name not in self._shares:
            raise RowError(column, "variant", f"is none of {', '.join(self._shares)}")
        return name

    def _key(self, fields: Mapping[str, str]) -> str:
        key = fields.get(self._columns.key, "").strip()
        if not key:
            raise RowError(self._columns.key, "key-missing", "is empty; every row needs a key of its own")
        return key

    def _times(self, fields: Mapping[str, str], address: str) -> tuple[str, float, float]:
        """Return the zone of a row, and the times between which it may be sent."""
        columns = self._columns
        zone = self._zone_of(fields) or ("" if self._number_zones is None else self._number_zones(address))
        begin = self._time(fields, columns.not_before, zone, 0.0)
        end = self._time(fields, columns.expires, zone, math.inf)
        if end <= begin:
            raise RowError(columns.expires, "time", "is not after the time before which it is not sent")
        return zone, begin, end

    def _zone_of(self, fields: Mapping[str, str]) -> str:
        column = self._columns.zone
        name = fields.get(column, "").strip() if column else ""
        if name and not _is_zone(name):
            raise RowError(column, "zone", "is no IANA time zone, such as Europe/Amsterdam")
        return name

    def _time(self, fields: Mapping[str, str], column: str, zone: str, otherwise: float) -> float:
        text = fields.get(column, "").strip() if column else ""
        if not text:
            return otherwise
        try:
            moment = datetime.fromisoformat(text)
            if moment.tzinfo is None:
                moment = moment.replace(tzinfo=ZoneInfo(zone if zone and "|" not in zone else self._zone))
            return epoch(moment)
        except (ValueError, OverflowError):
            raise RowError(column, "time", "must be a time like 2026-03-29T18:00 or …T18:00+02:00") from None


class _Reader:
    """The rows of a file; the first row is checked for the required columns."""

    def __init__(self, source: str | Path | Source, needed: frozenset[str]) -> None:
        self._rows = rows_of(source)
        self._needed = needed
        self._name = Path(source.file if isinstance(source, Source) else source).name
        self._is_table = not (
            source.format == "jsonl"
            if isinstance(source, Source) and source.format
            else self._name.lower().endswith((".jsonl", ".ndjson"))
        )

    def __iter__(self) -> _Reader:
        return self

    def __next__(self) -> Numbered:
        line, fields = next(self._rows)
        if self._is_table and isinstance(fields, dict):
            # All rows of a table have the same columns, so a missing column is one error instead of one per
            # row.
            self._is_table = False
            if missing := sorted(self._needed - fields.keys()):
                raise SourceError(
                    f"{self._name}: has no column {', '.join(map(repr, missing))}; it has "
                    f"{', '.join(map(repr, fields))}"
                )
        return line, fields

    def close(self) -> None:
        """Close the file."""
        self._rows.close()


def _is_file(source: str | Path | Source) -> bool:
    """Return whether a source can be read twice; a pipe cannot."""
    return Path(source.file if isinstance(source, Source) else source).is_file()


@lru_cache(maxsize=1024)
def _is_zone(name: str) -> bool:
    try:
        ZoneInfo(name)
    except (ValueError, OSError, LookupError):
        return False
    return True


def _others(route: Route, fields: Mapping[str, str]) -> tuple[str, ...]:
    """Return the addresses of later steps, without those of the first."""
    if not route.field:
        return route.others
    first = fields.get(route.field, "").strip()
    found = dict.fromkeys(fields.get(name, "").strip() for name in route.others)
    return tuple(address for address in found if address not in {"", first})
