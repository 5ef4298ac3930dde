"""The behaviour of recipients: by address, by pattern, by test number, or by default.

It returns what a person does and when; it sends nothing and holds no clock.

The behaviour of an address is the first match of:

1. a person added for exactly this address, on this channel before on all channels;
2. the last person added with a pattern (`*`, `?`, `[…]`) that matches the address and the channel;
3. a test number (below);
4. the default person: submitted after 0.1 s, delivered after 1-2 s, read after 10 s where the channel reports
   reading (messenger, whatsapp, viber: contract 3.5).

Test numbers start with 999, an unassigned country code. The fourth digit is the behaviour, digits five to
eight are its argument if it takes one, and the rest makes people distinct. The same applies to ids, and to
WhatsApp user ids after the country: NL.999100000001 never reads.

    number      the person                                                     example
    ----------  -------------------------------------------------------------  -----------------------------
    9990…       is the default person                                           999000000001
    9991…       receives it, never reads it                                     999100000001
    9992SSSS…   reads it SSSS seconds after it was sent                        999206000001: after 600 s
    9993CCCC…   is refused at once: `rejected` with code CCCC                  999313000001: 1300
    9994CCCC…   cannot be reached: `undeliverable` with code CCCC              999411900001: 1190
    9995…       is silent: the message stays `submitted`                       999500000001
    9996SSSS…   receives it SSSS seconds after it was sent, never reads it     999609000001: after 900 s
    9997…       reads it and replies "Hello", 20 times a day at most           999700000001
    9998…       reads it and replies "STOP"; later messages: rejected, 1240    999800000001
    9999…       is a typical person: the profile below                         999900000001

The configuration file has the same and more; every key but `address` is optional, and times may be "never":

    [default]                       # changes the default person
    read_after = 30

    [[people]]
    address = "4477009001*"         # number, id or pattern; the last match wins
    channel = "whatsapp"            # otherwise all channels
    profile = "typical"             # base of the other keys; otherwise the default person
    absent_chance = 0.1             # of not being on messenger, whatsapp, viber: rejected, 1300
    off_after = 86400               # seconds from the first message until leaving the channel: rejected, 1300
    submitted_after = 0.1           # seconds after the step was sent, or "never"
    outcome = "delivered"           # or "rejected", "undeliverable", "silent" ...
    outcome_chance = 1.0            # ... with this chance, otherwise "delivered"
    outcome_after = 3               # seconds after the step was sent
    code = 1300                     # error code of rejected and undeliverable
    reason = "…"                    # otherwise the name of the code in contract 6.1
    read_after = "never"            # seconds after the step was sent
    read_chance = 1.0               # of reading it at all
    read_spread = 0                 # above 0: lognormal with this sigma, and read_after is the median
    reply = "Yes please"            # an inbound message, or a list of them for one message after another ...
    reply_chance = 1.0              # ... with this chance ...
    reply_after = 5                 # ... so many seconds after reading (after delivery where nothing is read)
    stop_chance = 0                 # of replying STOP instead: later messages are rejected, 1240

Chances are drawn from the seed for each message; absence, for each person and channel. The profile "typical"
is absent with a chance of 0.12, unreachable with 0.03, reads 0.8 of its messages, half of these within five
minutes (spread 1.5), replies to 0.05 and sends STOP with 0.01; "reluctant" is absent with 0.3, unreachable
with 0.05, reads 0.4, half of these within an hour (spread 2), replies to 0.01 and sends STOP with 0.05.
"""

from __future__ import annotations

import math
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from fnmatch import translate
from pathlib import Path
from typing import Final, Literal, NamedTuple, cast, get_args

import msgspec

from nexmo_dispatch_async.exceptions import ConfigurationError
from nexmo_dispatch_async.models.several import in_order
from nexmo_dispatch_async.simulator.world.seeded_random import SeededRandom
from nexmo_dispatch_core.error_names import reason_for
from nexmo_dispatch_core.unfinished import shows_unfinished

__all__ = ["CHANNELS", "PROFILES", "READING_CHANNELS", "Act", "Outcome", "People", "Person"]

Outcome = Literal["delivered", "rejected", "undeliverable", "silent"]

CHANNELS: Final = ("sms", "mms", "whatsapp", "viber_service_msg", "messenger")
READING_CHANNELS: Final = frozenset({"whatsapp", "viber_service_msg", "messenger"})

_LATEST_MS: Final = 30 * 24 * 3600 * 1000
_DEFAULT_CODES: Final[dict[str, int]] = {"rejected": 1300, "undeliverable": 1260}


class Act(msgspec.Struct, frozen=True, gc=False):
    """One act on a message: a status, or a reply when `status` is empty.

    `soon` marks the acts of the platform itself within seconds: `Simulator.advance()` settles them. It does
    not wait for later acts of a person or a script.
    """

    after_ms: int
    status: str
    code: int | None = None
    reason: str = ""
    #: the replies, one line per message in turn; a single line replies to each message
    script: tuple[str, ...] = ()
    soon: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Person:
    """The behaviour of one recipient; times are seconds after the step was sent, None means never.

    Attributes:
        submitted_after: When the platform reports `submitted`.
        outcome: The outcome of a message.
        outcome_chance: Probability of `outcome`; the message is delivered otherwise.
        outcome_after: Time of the outcome; None draws 1-2 s by the seed (0.1-0.3 s for a rejection).
        code: Error code of a failure; None for 1300 (`rejected`) and 1260 (`undeliverable`).
        reason: Text of the error; empty for the name of the code.
        absent_chance: Probability of not being on a channel that reports reading: rejected with 1300.
        off_after: Seconds from the first message until the person leaves the channel: rejected with 1300.
        read_after: Time of reading, on channels that report it; not before delivery.
        read_chance: Probability of reading a message.
        read_spread: Sigma of the lognormal distribution with the median `read_after`; 0 for no spread.
        reply: Text of an inbound message in reply, or one text per message in turn.
        reply_chance: Probability of a reply.
        reply_after: Seconds from reading (from delivery where reading is not reported) to the reply.
        stop_chance: Probability of the reply STOP.
    """

    submitted_after: float | None = 0.1
    outcome: Outcome = "delivered"
    outcome_chance: float = 1.0
    outcome_after: float | None = None
    code: int | None = None
    reason: str = ""
    absent_chance: float = 0.0
    off_after: float | None = None
    read_after: float | None = 10.0
    read_chance: float = 1.0
    read_spread: float = 0.0
    reply: str | tuple[str, ...] | None = None
    reply_chance: float = 1.0
    reply_after: float = 5.0
    stop_chance: float = 0.0

    def __post_init__(self) -> None:
        if self.outcome not in get_args(Outcome):
            raise ConfigurationError(
                f"outcome must be one of {', '.join(get_args(Outcome))}; got {self.outcome!r}"
            )
        for name in ("outcome_chance", "absent_chance", "read_chance", "reply_chance", "stop_chance"):
            if not 0 <= getattr(self, name) <= 1:
                raise ConfigurationError(f"{name} must be a number from 0 to 1; got {getattr(self, name)!r}")
        if self.reply is not None and not isinstance(self.reply, str):
            # A set has no order, and iterating a mapping would give its keys.
            object.__setattr__(self, "reply", tuple(in_order("reply", self.reply)))
        if not 0 <= self.read_spread <= 5:
            raise ConfigurationError(f"read_spread must be a number from 0 to 5; got {self.read_spread!r}")
        for name in ("submitted_after", "outcome_after", "read_after", "reply_after", "off_after"):
            seconds = getattr(self, name)
            if seconds is not None and not 0 <= seconds < 1e9:
                raise ConfigurationError(
                    f"{name} must be a number of seconds from 0, or never; got {seconds!r}"
                )

    def acts(self, channel: str, random: SeededRandom, purpose: str, address: str = "") -> list[Act]:
        """Return the acts on a message, in order of time.

        Args:
            channel: The channel of the message.
            random: Source of the draws.
            purpose: Purpose of the draws about this message.
            address: Address of the person, for the draws about the person.
        """
        outcome, code = self.outcome, self.code
        if self.outcome_chance < 1 and not random.chance(f"outcome/{purpose}", self.outcome_chance):
            outcome = "delivered"
        reports_reading = channel in READING_CHANNELS
        if reports_reading and self.absent_chance:
            absent = random.chance(f"absent/{channel}/{address.strip()}", self.absent_chance)
            outcome, code = ("rejected", 1300) if absent else (outcome, code)
        if outcome == "rejected":
            after = self._outcome_ms(random, purpose, 100, 300)
            return [self._failure(after, outcome, code)]
        acts: list[Act] = []
        submitted = None if self.submitted_after is None else _ms(self.submitted_after)
        if submitted is not None:
            acts.append(Act(submitted, "submitted", soon=submitted <= 2000))
        if outcome == "silent":
            return acts
        earliest = submitted or 0
        arrives = max(self._outcome_ms(random, purpose, 1000, 2000), earliest)
        if outcome == "undeliverable":
            return [*acts, self._failure(arrives, outcome, code)]
        moment, would_read = arrives, reports_reading and self.read_after is not None
        reads = would_read and (self.read_chance == 1 or random.chance(f"read/{purpose}", self.read_chance))
        if reads and self.read_after is not None:
            moment = max(self._read_ms(self.read_after, random, purpose), earliest)
            if self.outcome_after is None:  # the drawn latency gives way to a scripted read
                arrives = min(arrives, moment)
            moment = max(moment, arrives)
        acts.append(Act(arrives, "delivered", soon=self.outcome_after is None))
        if reads:
            acts.append(Act(moment, "read"))
        script = self._script(random, purpose) if reads == would_read else ()
        if script:
            acts.append(Act(moment + _ms(self.reply_after), "", script=script))
        return acts

    def _read_ms(self, median: float, random: SeededRandom, purpose: str) -> int:
        if not self.read_spread:
            return _ms(median)
        return min(_ms(median * math.exp(self.read_spread * random.normal(f"reads/{purpose}"))), _LATEST_MS)

    def _script(self, random: SeededRandom, purpose: str) -> tuple[str, ...]:
        """Return the lines of the reply; empty for no reply."""
        if self.stop_chance and random.chance(f"stop/{purpose}", self.stop_chance):
            return ("STOP",)
        if self.reply is None or (
            self.reply_chance < 1 and not random.chance(f"reply/{purpose}", self.reply_chance)
        ):
            return ()
        return (self.reply,) if isinstance(self.reply, str) else self.reply

    def _outcome_ms(self, random: SeededRandom, purpose: str, low: int, high: int) -> int:
        return random.between(purpose, low, high) if self.outcome_after is None else _ms(self.outcome_after)

    def _failure(self, after: int, outcome: str, code: int | None) -> Act:
        code = _DEFAULT_CODES[outcome] if code is None else code
        return Act(after, outcome, code, self.reason or reason_for(code), soon=self.outcome_after is None)


#: predefined people, also for `profile` in the configuration file
PROFILES: Final[dict[str, Person]] = {
    "typical": Person(
        absent_chance=0.12,
        outcome="undeliverable",
        outcome_chance=0.03,
        read_after=300,
        read_chance=0.8,
        read_spread=1.5,
        reply="Thanks",
        reply_chance=0.05,
        reply_after=60,
        stop_chance=0.01,
    ),
    "reluctant": Person(
        absent_chance=0.3,
        outcome="undeliverable",
        outcome_chance=0.05,
        read_after=3600,
        read_chance=0.4,
        read_spread=2.0,
        reply="Who is this?",
        reply_chance=0.01,
        reply_after=600,
        stop_chance=0.05,
    ),
}


def _ms(seconds: float) -> int:
    return round(seconds * 1000)


class _Pattern(NamedTuple):
    expression: re.Pattern[str]
    channel: str | None
    person: Person


class People:
    """The people of a simulator by address or pattern: `people["447700900123"] = Person(…)`."""

    def __init__(self, default: Person | None = None) -> None:
        self.default: Person = default or Person()
        self._exact: dict[tuple[str, str | None], Person] = {}
        self._patterns: list[_Pattern] = []

    @shows_unfinished
    def __repr__(self) -> str:
        return f"<People {len(self._exact) + len(self._patterns)} addresses and patterns>"

    def __setitem__(self, address: str, person: Person) -> None:
        """Add a person for an address or a pattern, on every channel."""
        self.add(address, person)

    def add(self, address: str, person: Person, *, channel: str | None = None) -> None:
        """Add a person.

        Args:
            address: A number or id, or a pattern of them (`*`, `?`, `[…]`).
            person: The behaviour.
            channel: The only channel with this behaviour; None for all channels.

        Raises:
            ConfigurationError: The channel is unknown, or `person` is no `Person`.
        """
        if not isinstance(person, Person):  # pyright: ignore[reportUnnecessaryIsInstance]  # callers are untyped too
            raise ConfigurationError(
                f"person must be a Person, such as Person(outcome='rejected'); got {type(person).__name__}"
            )
        if channel is not None and channel not in CHANNELS:
            raise ConfigurationError(f"channel must be one of {', '.join(CHANNELS)}; got {channel!r}")
        if any(sign in address for sign in "*?["):
            self._patterns.append(_Pattern(re.compile(translate(address)), channel, person))
        else:
            self._exact[address, channel] = person

    def clear(self) -> None:
        """Remove all people; the default person and the test numbers stay."""
        self._exact.clear()
        self._patterns.clear()

    def load(self, path: str | Path) -> None:
        """Add the people of a TOML file.

        Raises:
            ConfigurationError: The file cannot be read, or has an unknown table, key or value.
        """
        try:
            text = Path(path).read_text(encoding="utf-8-sig")
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigurationError(f"the configuration file {path} cannot be read: {error}") from error
        self.loads(text)

    def loads(self, text: str) -> None:
        """Add the people of a TOML text; all of them, or none when one is wrong.

        Raises:
            ConfigurationError: The text is not TOML, or has an unknown table, key or value.
        """
        try:
            document = tomllib.loads(text.removeprefix("\ufeff"))
        except tomllib.TOMLDecodeError as error:
            raise ConfigurationError(f"the configuration is not TOML: {error}") from error
        unknown = document.keys() - {"default", "people"}
        if unknown:
            raise ConfigurationError(
                f"the configuration has an unknown table {sorted(unknown)[0]!r}; known: default, people"
            )
        self.add_tables(document)

    def add_tables(self, document: Mapping[str, object]) -> None:
        """Add the tables `default` and `people` of a configuration file; both, or nothing.

        Raises:
            ConfigurationError: A table has an unknown key or value.
        """
        default = _person(document.get("default", {}), self.default, "[default]")
        entries = document.get("people", [])
        if not isinstance(entries, list):
            raise ConfigurationError("people are written as [[people]], one table per person")
        loaded = People(default)
        for number, entry in enumerate(cast("list[object]", entries), 1):
            where = f"[[people]] number {number}"
            settings = dict(_mapping(entry, where))
            address, channel = settings.pop("address", None), settings.pop("channel", None)
            # unknown keys first: one of them may be a misspelt `address`
            person = _person(settings, default, where, "address, channel, ")
            if address is None:
                raise ConfigurationError(
                    f"{where}: address is required: a number or id, or a pattern of them"
                )
            if not isinstance(address, str):
                raise ConfigurationError(f"{where}: address must be a string; got {address!r}")
            if not isinstance(channel, str | None):
                raise ConfigurationError(f"{where}: channel must be a string; got {channel!r}")
            loaded.add(address, person, channel=channel)
        self.default = default
        self._exact.update(loaded._exact)
        self._patterns.extend(loaded._patterns)

    def find(self, address: str, channel: str) -> Person:
        """Return the person behind an address on a channel."""
        address = address.strip()  # the service does not trim what it echoes (contract 3.3)
        if self._exact:
            exact = self._exact.get((address, channel)) or self._exact.get((address, None))
            if exact is not None:
                return exact
        for pattern in reversed(self._patterns):
            if pattern.channel in (None, channel) and pattern.expression.match(address):
                return pattern.person
        # A WhatsApp user id begins with its country (contract 5.5).
        test = address.rpartition(".")[2] if address[2:3] == "." else address
        if test.startswith("999"):
            return _test_person(test, self.default)
        return self.default


def _test_person(address: str, default: Person) -> Person:
    """Return the person of a test number; the default person when its argument is missing."""
    digits = address[4:8]
    argument = int(digits) if len(digits) == 4 and digits.isascii() and digits.isdigit() else None
    match address[3:4]:
        case "1":
            return replace(default, read_after=None)
        case "2" if argument is not None:
            return replace(default, read_after=argument)
        case "3" if argument is not None:
            return replace(default, outcome="rejected", code=argument)
        case "4" if argument is not None:
            return replace(default, outcome="undeliverable", code=argument)
        case "5":
            return replace(default, outcome="silent")
        case "6" if argument is not None:
            return replace(default, outcome_after=argument, read_after=None)
        case "7":
            return replace(default, reply="Hello")
        case "8":
            return replace(default, reply="STOP")
        case "9":
            return PROFILES["typical"]
        case _:
            return default


class _Kind(NamedTuple):
    types: tuple[type, ...]
    #: the rule for its values, in error messages
    rule: str


_SECONDS: Final = _Kind((int, float), "a number of seconds from 0")
_SECONDS_OR_NEVER: Final = _Kind((int, float), 'a number of seconds from 0, or "never"')
_CHANCE: Final = _Kind((int, float), "a number from 0 to 1")
_KEYS: Final[dict[str, _Kind]] = {
    "submitted_after": _SECONDS_OR_NEVER,
    "outcome": _Kind((str,), f"one of {', '.join(get_args(Outcome))}"),
    "outcome_chance": _CHANCE,
    "outcome_after": _SECONDS,
    "code": _Kind((int,), "an integer"),
    "reason": _Kind((str,), "a string"),
    "absent_chance": _CHANCE,
    "off_after": _SECONDS,
    "read_after": _SECONDS_OR_NEVER,
    "read_chance": _CHANCE,
    "read_spread": _Kind((int, float), "a number from 0 to 5"),
    "reply": _Kind((str, list), "a string or a list of strings"),
    "reply_chance": _CHANCE,
    "reply_after": _SECONDS,
    "stop_chance": _CHANCE,
}


def _mapping(value: object, where: str) -> Mapping[str, object]:
    if not isinstance(value, dict):
        raise ConfigurationError(f"{where} must be a table")
    return cast("dict[str, object]", value)


def _person(value: object, base: Person, where: str, more_keys: str = "") -> Person:
    """Read a table; `more_keys` are further known keys, for the error message."""
    changes: dict[str, object] = {}
    settings = dict(_mapping(value, where))
    profile = settings.pop("profile", None)
    if profile is not None:
        if not isinstance(profile, str) or profile not in PROFILES:
            raise ConfigurationError(
                f"{where}: profile must be one of {', '.join(PROFILES)}; got {profile!r}"
            )
        base = PROFILES[profile]
    for key, setting in settings.items():
        kind = _KEYS.get(key)
        if kind is None:
            known = f"{more_keys}profile, {', '.join(_KEYS)}"
            raise ConfigurationError(f"{where} has an unknown key {key!r}; known: {known}")
        if setting == "never" and kind is _SECONDS_OR_NEVER:
            changes[key] = None
        elif not isinstance(setting, kind.types) or isinstance(setting, bool):
            raise ConfigurationError(f"{where}: {key} must be {kind.rule}; got {setting!r}")
        elif isinstance(setting, list):
            lines = cast("list[object]", setting)
            if not all(isinstance(line, str) for line in lines):
                raise ConfigurationError(f"{where}: {key} must be {kind.rule}; got {setting!r}")
            changes[key] = tuple(lines)
        else:
            changes[key] = setting
    try:
        return replace(base, **changes)  # type: ignore[arg-type]  # each value was checked against _KEYS above
    except ConfigurationError as error:
        raise ConfigurationError(f"{where}: {error}") from None
