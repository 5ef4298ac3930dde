"""How recipients behave: by test number, by rules, or by default.

It says what a person does and when; it sends nothing and holds no clock.

Who behaves how, the first line that fits:

1. a rule for exactly this address, on this channel before on all channels;
2. the last added rule whose pattern (`*`, `?`, `[…]`) fits the address and the channel;
3. a test number (below);
4. the default person: submitted after 0.1 s, delivered after 1-2 s, read after 10 s where the channel reports
   reading (messenger, whatsapp, viber: contract 3.5).

Test numbers start with 999, a country code that nobody has. The fourth digit is the behaviour, digits five to
eight are its argument where it takes one, and the rest makes people distinct. The same goes for ids, and for
WhatsApp user ids behind the country: NL.999100000001 never reads.

    number      the person                                                     example
    ----------  -------------------------------------------------------------  -----------------------------
    9990…       is the default one                                             999000000001
    9991…       gets it and never reads it                                     999100000001
    9992SSSS…   reads it SSSS seconds after it was sent                        999206000001: after 600 s
    9993CCCC…   is refused at once: `rejected` with code CCCC                  999313000001: 1300
    9994CCCC…   cannot be reached: `undeliverable` with code CCCC              999411900001: 1190
    9995…       is silent: the message stays `submitted`                       999500000001
    9996SSSS…   gets it SSSS seconds after it was sent, and does not read it   999609000001: after 900 s
    9997…       reads it and replies "Hello", 20 times a day at most           999700000001
    9998…       reads it and replies "STOP"; later messages: rejected, 1240    999800000001
    9999…       is a typical one: the profile below                            999900000001

A rules file says the same and more; every key but `address` is optional, "never" stands for no such moment:

    [default]                       # changes the default person
    read_after = 30

    [[people]]
    address = "4477009001*"         # number or id; the last rule that fits wins
    channel = "whatsapp"            # otherwise all channels
    profile = "typical"             # what the other keys change; otherwise the default person
    absent_chance = 0.1             # of not being on messenger, whatsapp, viber at all: rejected, 1300
    off_after = 86400               # seconds from the first message on, then off the channel: rejected, 1300
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

Chances are drawn from the seed for each message; whether somebody is absent, for each person and channel. The
profile "typical" is absent with 0.12, unreachable with 0.03, reads 0.8 of what comes, half of it within five
minutes (spread 1.5), replies to 0.05 and stops at 0.01; "reluctant" is absent with 0.3, unreachable with
0.05, reads 0.4, half of it within an hour (spread 2), replies to 0.01 and stops at 0.05.
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
from nexmo_dispatch_async.simulator.world.error_names import reason_for
from nexmo_dispatch_async.simulator.world.seeded_random import Dice

__all__ = ["CHANNELS", "PROFILES", "READING_CHANNELS", "Act", "Outcome", "People", "Person"]

Outcome = Literal["delivered", "rejected", "undeliverable", "silent"]

CHANNELS: Final = ("sms", "mms", "whatsapp", "viber_service_msg", "messenger")
READING_CHANNELS: Final = frozenset({"whatsapp", "viber_service_msg", "messenger"})

_LATEST_MS: Final = 30 * 24 * 3600 * 1000
_DEFAULT_CODES: Final[dict[str, int]] = {"rejected": 1300, "undeliverable": 1260}


class Act(msgspec.Struct, frozen=True, gc=False):
    """One thing that will happen to a message: a status, or a reply when `status` is empty.

    `soon` marks what the platform does within seconds by itself, which `advance` waits for; it does not wait
    for what a person or a script does later.
    """

    after_ms: int
    status: str
    code: int | None = None
    reason: str = ""
    #: what is replied, one line for each message in turn; a single line to each
    script: tuple[str, ...] = ()
    soon: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Person:
    """How one recipient behaves; all times are seconds after the step was sent, `None` means never.

    Attributes:
        submitted_after: When the platform reports `submitted`.
        outcome: What becomes of the message.
        outcome_chance: How likely that is; it is delivered otherwise.
        outcome_after: When; `None` draws 1-2 s by the seed (0.1-0.3 s for a rejection).
        code: Error code of a failure; `None` takes 1300 for `rejected` and 1260 for `undeliverable`.
        reason: Its text; empty takes the name of the code.
        absent_chance: How likely the person is not on a channel that reports reading: rejected with 1300.
        off_after: Seconds from the first message until the person leaves the channel: rejected with 1300.
        read_after: When the person reads, on channels that report it; not before delivery.
        read_chance: How likely a message is read.
        read_spread: Sigma of the lognormal distribution around `read_after`, its median; 0 for exactly then.
        reply: Text of an inbound message that follows, or texts for one message after another.
        reply_chance: How likely there is a reply.
        reply_after: Seconds from reading (or from delivery where nothing is read) to the reply.
        stop_chance: How likely the reply is STOP.
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
                f"outcome is one of {', '.join(get_args(Outcome))}; got {self.outcome!r}"
            )
        for name in ("outcome_chance", "absent_chance", "read_chance", "reply_chance", "stop_chance"):
            if not 0 <= getattr(self, name) <= 1:
                raise ConfigurationError(f"{name} is a number from 0 to 1; got {getattr(self, name)!r}")
        if self.reply is not None and not isinstance(self.reply, str):
            # A set has no order, and a mapping would say its names.
            object.__setattr__(self, "reply", tuple(in_order("reply", self.reply)))
        if not 0 <= self.read_spread <= 5:
            raise ConfigurationError(f"read_spread is a number from 0 to 5; got {self.read_spread!r}")
        for name in ("submitted_after", "outcome_after", "read_after", "reply_after", "off_after"):
            seconds = getattr(self, name)
            if seconds is not None and not 0 <= seconds < 1e9:
                raise ConfigurationError(f"{name} is a number of seconds from 0, or never; got {seconds!r}")

    def acts(self, channel: str, dice: Dice, purpose: str, address: str = "") -> list[Act]:
        """Return what happens to a message on `channel`, in order of time.

        Args:
            channel: Where the message was sent.
            dice: Draws what is left to chance.
            purpose: What a draw about this message is for.
            address: Whose the draws about the person are.
        """
        outcome, code = self.outcome, self.code
        if self.outcome_chance < 1 and not dice.chance(f"outcome/{purpose}", self.outcome_chance):
            outcome = "delivered"
        reports_reading = channel in READING_CHANNELS
        if reports_reading and self.absent_chance:
            absent = dice.chance(f"absent/{channel}/{address.strip()}", self.absent_chance)
            outcome, code = ("rejected", 1300) if absent else (outcome, code)
        if outcome == "rejected":
            after = self._outcome_ms(dice, purpose, 100, 300)
            return [self._failure(after, outcome, code)]
        acts: list[Act] = []
        submitted = None if self.submitted_after is None else _ms(self.submitted_after)
        if submitted is not None:
            acts.append(Act(submitted, "submitted", soon=submitted <= 2000))
        if outcome == "silent":
            return acts
        earliest = submitted or 0
        arrives = max(self._outcome_ms(dice, purpose, 1000, 2000), earliest)
        if outcome == "undeliverable":
            return [*acts, self._failure(arrives, outcome, code)]
        moment, would_read = arrives, reports_reading and self.read_after is not None
        reads = would_read and (self.read_chance == 1 or dice.chance(f"read/{purpose}", self.read_chance))
        if reads and self.read_after is not None:
            moment = max(self._read_ms(self.read_after, dice, purpose), earliest)
            if self.outcome_after is None:  # the drawn latency gives way to a scripted read
                arrives = min(arrives, moment)
            moment = max(moment, arrives)
        acts.append(Act(arrives, "delivered", soon=self.outcome_after is None))
        if reads:
            acts.append(Act(moment, "read"))
        script = self._script(dice, purpose) if reads == would_read else ()
        if script:
            acts.append(Act(moment + _ms(self.reply_after), "", script=script))
        return acts

    def _read_ms(self, median: float, dice: Dice, purpose: str) -> int:
        if not self.read_spread:
            return _ms(median)
        return min(_ms(median * math.exp(self.read_spread * dice.normal(f"reads/{purpose}"))), _LATEST_MS)

    def _script(self, dice: Dice, purpose: str) -> tuple[str, ...]:
        """Return what is replied, nothing where nothing is."""
        if self.stop_chance and dice.chance(f"stop/{purpose}", self.stop_chance):
            return ("STOP",)
        if self.reply is None or (
            self.reply_chance < 1 and not dice.chance(f"reply/{purpose}", self.reply_chance)
        ):
            return ()
        return (self.reply,) if isinstance(self.reply, str) else self.reply

    def _outcome_ms(self, dice: Dice, purpose: str, low: int, high: int) -> int:
        return dice.between(purpose, low, high) if self.outcome_after is None else _ms(self.outcome_after)

    def _failure(self, after: int, outcome: str, code: int | None) -> Act:
        code = _DEFAULT_CODES[outcome] if code is None else code
        return Act(after, outcome, code, self.reason or reason_for(code), soon=self.outcome_after is None)


#: persons to start from: `Person`s, and `profile` in the rules
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


class _Rule(NamedTuple):
    pattern: re.Pattern[str]
    channel: str | None
    person: Person


class People:
    """Who behaves how: `people["447700900123"] = Person(...)`, or rules with patterns and channels."""

    def __init__(self, default: Person | None = None) -> None:
        self.default: Person = default or Person()
        self._exact: dict[tuple[str, str | None], Person] = {}
        self._rules: list[_Rule] = []

    def __repr__(self) -> str:
        return f"<People {len(self._exact) + len(self._rules)} rules>"

    def __setitem__(self, address: str, person: Person) -> None:
        """Say how whoever fits `address` (which may be a pattern) behaves on every channel."""
        self.add(address, person)

    def add(self, address: str, person: Person, *, channel: str | None = None) -> None:
        """Add a rule.

        Args:
            address: A number or id, or a pattern of them (`*`, `?`, `[…]`).
            person: The behaviour.
            channel: The only channel it is for; `None` for all of them.

        Raises:
            ConfigurationError: There is no such channel.
        """
        if channel is not None and channel not in CHANNELS:
            raise ConfigurationError(f"channel is one of {', '.join(CHANNELS)}; got {channel!r}")
        if any(sign in address for sign in "*?["):
            self._rules.append(_Rule(re.compile(translate(address)), channel, person))
        else:
            self._exact[address, channel] = person

    def clear(self) -> None:
        """Forget all rules; the default person and the test numbers stay."""
        self._exact.clear()
        self._rules.clear()

    def load(self, path: str | Path) -> None:
        """Add the rules of a TOML file.

        Raises:
            ConfigurationError: The file cannot be read or says something that is not in the table.
        """
        try:
            text = Path(path).read_text(encoding="utf-8-sig")
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigurationError(f"the rules file {path} cannot be read: {error}") from error
        self.loads(text)

    def loads(self, text: str) -> None:
        """Add the rules of a TOML text; all of them, or none when one is wrong.

        Raises:
            ConfigurationError: It is not TOML or says something that is not in the table.
        """
        try:
            document = tomllib.loads(text.removeprefix("\ufeff"))
        except tomllib.TOMLDecodeError as error:
            raise ConfigurationError(f"the rules are not TOML: {error}") from error
        unknown = document.keys() - {"default", "people"}
        if unknown:
            raise ConfigurationError(
                f"the rules have no table {sorted(unknown)[0]!r}; known: default, people"
            )
        self.add_rules(document)

    def add_rules(self, document: Mapping[str, object]) -> None:
        """Add what the tables `default` and `people` of a rules file say; all of it, or nothing.

        Raises:
            ConfigurationError: They say something that is not in the table.
        """
        default = _person(document.get("default", {}), self.default, "[default]")
        entries = document.get("people", [])
        if not isinstance(entries, list):
            raise ConfigurationError("the rules write people as [[people]], one table a person")
        loaded = People(default)
        for number, entry in enumerate(cast("list[object]", entries), 1):
            where = f"[[people]] number {number}"
            settings = dict(_mapping(entry, where))
            address, channel = settings.pop("address", None), settings.pop("channel", None)
            # first what is misspelt: perhaps that is the address
            person = _person(settings, default, where, "address, channel, ")
            if address is None:
                raise ConfigurationError(f"{where}: address is missing: a number or id, or a pattern of them")
            if not isinstance(address, str):
                raise ConfigurationError(f"{where}: address is a text; got {address!r}")
            if not isinstance(channel, str | None):
                raise ConfigurationError(f"{where}: channel is a text; got {channel!r}")
            loaded.add(address, person, channel=channel)
        self.default = default
        self._exact.update(loaded._exact)
        self._rules.extend(loaded._rules)

    def find(self, address: str, channel: str) -> Person:
        """Return the person behind an address on a channel."""
        address = address.strip()  # the service does not trim what it echoes (contract 3.3)
        if self._exact:
            exact = self._exact.get((address, channel)) or self._exact.get((address, None))
            if exact is not None:
                return exact
        for rule in reversed(self._rules):
            if rule.channel in (None, channel) and rule.pattern.match(address):
                return rule.person
        # A WhatsApp user id has its country before (contract 5.5).
        test = address.rpartition(".")[2] if address[2:3] == "." else address
        if test.startswith("999"):
            return _test_person(test, self.default)
        return self.default


def _test_person(address: str, default: Person) -> Person:
    """Read a test number; one without its argument is an ordinary person."""
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
    #: what a value is, for the message
    rule: str


_SECONDS: Final = _Kind((int, float), "a number of seconds from 0")
_SECONDS_OR_NEVER: Final = _Kind((int, float), 'a number of seconds from 0, or "never"')
_CHANCE: Final = _Kind((int, float), "a number from 0 to 1")
_KEYS: Final[dict[str, _Kind]] = {
    "submitted_after": _SECONDS_OR_NEVER,
    "outcome": _Kind((str,), f"one of {', '.join(get_args(Outcome))}"),
    "outcome_chance": _CHANCE,
    "outcome_after": _SECONDS,
    "code": _Kind((int,), "a whole number"),
    "reason": _Kind((str,), "a text"),
    "absent_chance": _CHANCE,
    "off_after": _SECONDS,
    "read_after": _SECONDS_OR_NEVER,
    "read_chance": _CHANCE,
    "read_spread": _Kind((int, float), "a number from 0 to 5"),
    "reply": _Kind((str, list), "a text or a list of texts"),
    "reply_chance": _CHANCE,
    "reply_after": _SECONDS,
    "stop_chance": _CHANCE,
}


def _mapping(value: object, where: str) -> Mapping[str, object]:
    if not isinstance(value, dict):
        raise ConfigurationError(f"{where} is a table")
    return cast("dict[str, object]", value)


def _person(value: object, base: Person, where: str, more_keys: str = "") -> Person:
    """Read a table; `more_keys` are those that were taken from it before, for the message."""
    changes: dict[str, object] = {}
    settings = dict(_mapping(value, where))
    profile = settings.pop("profile", None)
    if profile is not None:
        if not isinstance(profile, str) or profile not in PROFILES:
            raise ConfigurationError(f"{where}: profile is one of {', '.join(PROFILES)}; got {profile!r}")
        base = PROFILES[profile]
    for key, setting in settings.items():
        kind = _KEYS.get(key)
        if kind is None:
            known = f"{more_keys}profile, {', '.join(_KEYS)}"
            raise ConfigurationError(f"{where} has no key {key!r}; known: {known}")
        if setting == "never" and kind is _SECONDS_OR_NEVER:
            changes[key] = None
        elif not isinstance(setting, kind.types) or isinstance(setting, bool):
            raise ConfigurationError(f"{where}: {key} is {kind.rule}; got {setting!r}")
        elif isinstance(setting, list):
            lines = cast("list[object]", setting)
            if not all(isinstance(line, str) for line in lines):
                raise ConfigurationError(f"{where}: {key} is {kind.rule}; got {setting!r}")
            changes[key] = tuple(lines)
        else:
            changes[key] = setting
    try:
        return replace(base, **changes)  # type: ignore[arg-type]  # each value was checked against _KEYS above
    except ConfigurationError as error:
        raise ConfigurationError(f"{where}: {error}") from None
