"""How recipients behave: by test number, by rules, or by default.

It says what a person does and when; it sends nothing and holds no clock.

Who behaves how, the first line that fits:

1. a rule for exactly this address, on this channel before on all channels;
2. the last added rule whose pattern (`*`, `?`, `[…]`) fits the address and the channel;
3. a test number (below);
4. the default person: submitted after 0.1 s, delivered after 1-2 s, read after 10 s where the channel reports
   reading (messenger, whatsapp, viber: contract 3.5).

Test numbers start with 999, a country code that nobody has. The fourth digit is the behaviour, digits five to
eight are its argument where it takes one, and the rest makes people distinct. The same goes for ids.

    number      the person                                                     example
    ----------  -------------------------------------------------------------  -----------------------------
    9990…       is the default one                                             999000000001
    9991…       gets it and never reads it                                     999100000001
    9992SSSS…   reads it SSSS seconds after it was sent                        999206000001: after 600 s
    9993CCCC…   is refused at once: `rejected` with code CCCC                  999313000001: 1300
    9994CCCC…   cannot be reached: `undeliverable` with code CCCC              999411900001: 1190
    9995…       is silent: the message stays `submitted`                       999500000001
    9996SSSS…   gets it SSSS seconds after it was sent, and does not read it   999609000001: after 900 s
    9997…       reads it and replies "Hello"                                   999700000001

A rules file says the same and more; every key but `address` is optional, "never" stands for no such moment:

    [default]                       # changes the default person
    read_after = 30

    [[people]]
    address = "4477009001*"         # number or id; the last rule that fits wins
    channel = "whatsapp"            # otherwise all channels
    submitted_after = 0.1           # seconds after the step was sent, or "never"
    outcome = "delivered"           # or "rejected", "undeliverable", "silent"
    outcome_after = 3               # seconds after the step was sent
    code = 1300                     # error code of rejected and undeliverable
    reason = "…"                    # otherwise the name of the code in contract 6.1
    read_after = "never"            # seconds after the step was sent
    reply = "Yes please"            # an inbound message ...
    reply_after = 5                 # ... so many seconds after reading (after delivery where nothing is read)
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from fnmatch import translate
from pathlib import Path
from typing import Final, Literal, NamedTuple, cast, get_args

import msgspec

from nexmo_dispatch_async.exceptions import ConfigurationError
from nexmo_dispatch_async.simulator.codes import reason_for
from nexmo_dispatch_async.simulator.dice import Dice

__all__ = ["CHANNELS", "READING_CHANNELS", "Act", "Outcome", "People", "Person"]

Outcome = Literal["delivered", "rejected", "undeliverable", "silent"]

CHANNELS: Final = ("sms", "mms", "whatsapp", "viber_service_msg", "messenger")
READING_CHANNELS: Final = frozenset({"whatsapp", "viber_service_msg", "messenger"})

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
    text: str = ""
    soon: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Person:
    """How one recipient behaves; all times are seconds after the step was sent, `None` means never.

    Attributes:
        submitted_after: When the platform reports `submitted`.
        outcome: What becomes of the message.
        outcome_after: When; `None` draws 1-2 s by the seed (0.1-0.3 s for a rejection).
        code: Error code of a failure; `None` takes 1300 for `rejected` and 1260 for `undeliverable`.
        reason: Its text; empty takes the name of the code.
        read_after: When the person reads, on channels that report it; not before delivery.
        reply: Text of an inbound message that follows.
        reply_after: Seconds from reading (or from delivery where nothing is read) to the reply.
    """

    submitted_after: float | None = 0.1
    outcome: Outcome = "delivered"
    outcome_after: float | None = None
    code: int | None = None
    reason: str = ""
    read_after: float | None = 10.0
    reply: str | None = None
    reply_after: float = 5.0

    def __post_init__(self) -> None:
        if self.outcome not in get_args(Outcome):
            raise ConfigurationError(
                f"outcome is one of {', '.join(get_args(Outcome))}; got {self.outcome!r}"
            )
        for name in ("submitted_after", "outcome_after", "read_after", "reply_after"):
            seconds = getattr(self, name)
            if seconds is not None and not 0 <= seconds < 1e9:
                raise ConfigurationError(f"{name} is a number of seconds from 0, or never; got {seconds!r}")

    def acts(self, channel: str, dice: Dice, purpose: str) -> list[Act]:
        """Return what happens to a message on `channel`, in order of time."""
        if self.outcome == "rejected":
            after = self._outcome_ms(dice, purpose, 100, 300)
            return [self._failure(after)]
        acts: list[Act] = []
        submitted = None if self.submitted_after is None else _ms(self.submitted_after)
        if submitted is not None:
            acts.append(Act(submitted, "submitted", soon=submitted <= 2000))
        if self.outcome == "silent":
            return acts
        earliest = submitted or 0
        outcome = max(self._outcome_ms(dice, purpose, 1000, 2000), earliest)
        if self.outcome == "undeliverable":
            return [*acts, self._failure(outcome)]
        moment, reads = outcome, channel in READING_CHANNELS and self.read_after is not None
        if reads and self.read_after is not None:
            moment = max(_ms(self.read_after), earliest)
            if self.outcome_after is None:  # the drawn latency gives way to a scripted read
                outcome = min(outcome, moment)
            moment = max(moment, outcome)
        acts.append(Act(outcome, "delivered", soon=self.outcome_after is None))
        if reads:
            acts.append(Act(moment, "read"))
        if self.reply is not None:
            acts.append(Act(moment + _ms(self.reply_after), "", text=self.reply))
        return acts

    def _outcome_ms(self, dice: Dice, purpose: str, low: int, high: int) -> int:
        return dice.between(purpose, low, high) if self.outcome_after is None else _ms(self.outcome_after)

    def _failure(self, after: int) -> Act:
        code = _DEFAULT_CODES[self.outcome] if self.code is None else self.code
        soon = self.outcome_after is None
        return Act(after, self.outcome, code, self.reason or reason_for(code), soon=soon)


def _ms(seconds: float) -> int:
    return round(seconds * 1000)


class _Rule(NamedTuple):
    pattern: re.Pattern[str]
    channel: str | None
    person: Person


class People:
    """Who behaves how: `people["447700900123"] = Person(...)`, or rules with patterns and channels."""

    def __init__(self, default: Person | None = None) -> None:
        self.default = default or Person()
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
            text = Path(path).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigurationError(f"the rules file {path} cannot be read: {error}") from error
        self.loads(text)

    def loads(self, text: str) -> None:
        """Add the rules of a TOML text; all of them, or none when one is wrong.

        Raises:
            ConfigurationError: It is not TOML or says something that is not in the table.
        """
        try:
            document = tomllib.loads(text)
        except tomllib.TOMLDecodeError as error:
            raise ConfigurationError(f"the rules are not TOML: {error}") from error
        unknown = document.keys() - {"default", "people"}
        if unknown:
            raise ConfigurationError(
                f"the rules have no table {sorted(unknown)[0]!r}; known: default, people"
            )
        default = _person(document.get("default", {}), self.default, "[default]")
        entries = document.get("people", [])
        if not isinstance(entries, list):
            raise ConfigurationError("the rules write people as [[people]], one table a person")
        loaded = People(default)
        for number, entry in enumerate(cast("list[object]", entries), 1):
            where = f"[[people]] number {number}"
            settings = dict(_mapping(entry, where))
            address, channel = settings.pop("address", None), settings.pop("channel", None)
            if not isinstance(address, str) or not isinstance(channel, str | None):
                raise ConfigurationError(f"{where}: address is a text, and so is channel when given")
            loaded.add(address, _person(settings, default, where), channel=channel)
        self.default: Person = default
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
        if address.startswith("999"):
            return _test_person(address, self.default)
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
        case _:
            return default


_KEYS: Final[dict[str, tuple[type, ...]]] = {
    "submitted_after": (int, float),
    "outcome": (str,),
    "outcome_after": (int, float),
    "code": (int,),
    "reason": (str,),
    "read_after": (int, float),
    "reply": (str,),
    "reply_after": (int, float),
}


def _mapping(value: object, where: str) -> Mapping[str, object]:
    if not isinstance(value, dict):
        raise ConfigurationError(f"{where} is a table")
    return cast("dict[str, object]", value)


def _person(value: object, base: Person, where: str) -> Person:
    changes: dict[str, object] = {}
    for key, setting in _mapping(value, where).items():
        kinds = _KEYS.get(key)
        if kinds is None:
            raise ConfigurationError(f"{where} has no key {key!r}; known: {', '.join(_KEYS)}")
        if setting == "never" and key in {"submitted_after", "read_after"}:
            changes[key] = None
        elif isinstance(setting, kinds) and not isinstance(setting, bool):
            changes[key] = setting
        else:
            raise ConfigurationError(f"{where}: {key} cannot be {setting!r}")
    try:
        return replace(base, **changes)  # type: ignore[arg-type]  # each value was checked against _KEYS above
    except ConfigurationError as error:
        raise ConfigurationError(f"{where}: {error}") from None
