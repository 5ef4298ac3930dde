"""Faults: failures of requests and callbacks on demand; the table is in `docs/faults.md`.

It decides which requests and callbacks a fault hits; the service, the server and the outbox carry it out.
Chance is drawn from the seed, so that two runs have the same faults.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from fnmatch import translate
from functools import lru_cache
from typing import Final, Literal, get_args

import msgspec

from nexmo_dispatch_async.exceptions import ConfigurationError
from nexmo_dispatch_async.simulator.world.seeded_random import SeededRandom
from nexmo_dispatch_core.unfinished import shows_unfinished

__all__ = ["CALLBACK_FAULTS", "FORMS", "REQUEST_FAULTS", "ArmedFault", "Fault", "Faults", "Form", "Kind"]

RequestKind = Literal["latency", "reset", "half_response", "error", "expire_tokens", "quota"]
CallbackKind = Literal["receiver_down", "lost", "unsigned", "duplicate", "reorder", "late"]
Kind = RequestKind | CallbackKind
Form = Literal[
    "kpn", "kpn_flat", "error_response", "apigee", "unauthorized", "problem", "html", "xml", "text", "empty"
]

#: faults of requests to the service, and of callbacks to the receiver
REQUEST_FAULTS: Final[tuple[str, ...]] = get_args(RequestKind)
CALLBACK_FAULTS: Final[tuple[str, ...]] = get_args(CallbackKind)
#: the shapes of error bodies
FORMS: Final[tuple[str, ...]] = get_args(Form)

_WEEK: Final = 7 * 24 * 3600


class Fault(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """One kind of failure, where it happens and how often.

    Attributes:
        kind: The kind of failure.
        route: A pattern (`*`, `?`, `[…]`) of requests by method and path as in `Simulator.counts`
            ("POST /dispatch", "GET /applications/{id}"), or of callbacks by kind ("final-report").
        recipient: A pattern of the customer's number or id; for a request, of any of its steps.
        probability: Probability of a hit for each match, from 0 to 1.
        skip: Number of matches before the first hit.
        count: Number of hits before the fault is spent; None for no limit.
        seconds: For `latency`, the delay of the response in real seconds. For `late` and `duplicate`, the
            delay of the callback in virtual seconds.
        when: Whether a reset or an error happens before the service receives the request, or after the
            service has carried it out.
        status: HTTP status of an error or of a receiver that is down. None for 503, for
            `Settings.quota_fault`, or for a receiver that refuses the connection.
        form: The shape of an error's body.
        retry_after: Seconds in a `Retry-After` header.
    """

    kind: Kind
    route: str = "*"
    recipient: str = "*"
    probability: float = 1.0
    skip: int = 0
    count: int | None = None
    seconds: float = 0.0
    when: Literal["before", "after"] = "before"
    status: int | None = None
    form: Form = "kpn"
    retry_after: int | None = None

    def __post_init__(self) -> None:
        if self.kind not in REQUEST_FAULTS + CALLBACK_FAULTS:
            kinds = ", ".join(REQUEST_FAULTS + CALLBACK_FAULTS)
            raise ConfigurationError(f"kind of a fault must be one of {kinds}; got {self.kind!r}")
        if not 0 <= self.probability <= 1:
            raise ConfigurationError(f"probability must be a number from 0 to 1; got {self.probability!r}")
        for name, value in (("skip", self.skip), ("count", self.count), ("retry_after", self.retry_after)):
            if value is not None and value < 0:
                raise ConfigurationError(f"{name} must be a number from 0; got {value!r}")
        if not 0 <= self.seconds <= _WEEK:
            raise ConfigurationError(f"seconds must be a number from 0 to {_WEEK}; got {self.seconds!r}")
        if self.status is not None and not 200 <= self.status <= 599:
            raise ConfigurationError(f"status must be a number from 200 to 599; got {self.status!r}")
        if self.when not in ("before", "after"):
            raise ConfigurationError(f"when must be before or after; got {self.when!r}")
        if self.form not in FORMS:
            raise ConfigurationError(f"form must be one of {', '.join(FORMS)}; got {self.form!r}")


@dataclass(slots=True, eq=False)
class ArmedFault:
    """A fault with its counts."""

    id: int
    fault: Fault
    #: number of requests or callbacks that matched, and number of hits
    met: int = 0
    hits: int = 0

    @property
    def spent(self) -> bool:
        """Whether the fault has reached its `count`."""
        return self.fault.count is not None and self.hits >= self.fault.count


class Faults:
    """The armed faults, in the order of their addition.

    Args:
        random: Source of the draws.
    """

    def __init__(self, random: SeededRandom) -> None:
        self._random = random
        self._armed: dict[int, ArmedFault] = {}
        self._added = 0
        #: whether any fault of requests, of callbacks, is armed
        self.on_requests: bool = False
        self.on_callbacks: bool = False

    @shows_unfinished
    def __repr__(self) -> str:
        return f"<Faults {', '.join(armed.fault.kind for armed in self) or 'none'}>"

    def __len__(self) -> int:
        return len(self._armed)

    def __iter__(self) -> Iterator[ArmedFault]:
        return iter(tuple(self._armed.values()))

    def add(self, fault: Fault | Mapping[str, object]) -> int:
        """Arm a fault and return its id.

        Args:
            fault: A `Fault`, or its fields as a mapping of JSON values.

        Raises:
            ConfigurationError: A field is unknown or has a wrong value.
        """
        checked = fault if isinstance(fault, Fault) else _fault(fault)
        self._added += 1
        self._armed[self._added] = ArmedFault(self._added, checked)
        self._refresh()
        return self._added

    def remove(self, fault_id: int) -> None:
        """Disarm a fault.

        Raises:
            KeyError: No fault has this id.
        """
        del self._armed[fault_id]
        self._refresh()

    def clear(self) -> None:
        """Disarm all faults."""
        self._armed.clear()
        self._refresh()

    def to_builtins(self) -> list[dict[str, object]]:
        """Return the armed faults as JSON values: `id`, `met`, `hits`, `spent` and the fields of each."""
        return [
            {
                "id": armed.id,
                "met": armed.met,
                "hits": armed.hits,
                "spent": armed.spent,
                **msgspec.structs.asdict(armed.fault),
            }
            for armed in self
        ]

    def on_request(self, route: str, recipients: Callable[[], Iterable[str]]) -> list[Fault]:
        """Return the faults that hit a request: at most one latency and at most one of another kind.

        Args:
            route: Method and path as in `Simulator.counts`.
            recipients: Returns the recipients; called only if a fault has a `recipient`.
        """
        return list(self._hits(REQUEST_FAULTS, route, recipients, adding_up=frozenset({"latency"})))

    def on_callback(self, kinds: tuple[str, ...], route: str, recipients: Iterable[str]) -> list[Fault]:
        """Return the faults of the given kinds that hit a callback, at most one of each kind."""
        return list(self._hits(kinds, route, lambda: recipients, adding_up=frozenset(kinds)))

    def _hits(
        self,
        kinds: tuple[str, ...],
        route: str,
        recipients: Callable[[], Iterable[str]],
        *,
        adding_up: frozenset[str],
    ) -> Iterator[Fault]:
        hit_groups: set[str] = set()
        for armed in self._armed.values():
            fault = armed.fault
            group = fault.kind if fault.kind in adding_up else "one"
            if fault.kind not in kinds or armed.spent or not _matches(fault.route, route):
                continue
            if fault.recipient != "*" and not any(
                _matches(fault.recipient, address.strip()) for address in recipients()
            ):
                continue
            armed.met += 1
            if armed.met > fault.skip and group not in hit_groups and self._happens(armed):
                armed.hits += 1
                hit_groups.add(group)
                yield fault

    def _happens(self, armed: ArmedFault) -> bool:
        return self._random.chance(f"fault/{armed.id}/{armed.met}", armed.fault.probability)

    def _refresh(self) -> None:
        kinds = {armed.fault.kind for armed in self._armed.values()}
        self.on_requests = not kinds.isdisjoint(REQUEST_FAULTS)
        self.on_callbacks = not kinds.isdisjoint(CALLBACK_FAULTS)


def _fault(fields: Mapping[str, object]) -> Fault:
    try:
        return msgspec.convert(dict(fields), Fault)
    except msgspec.ValidationError as error:
        raise ConfigurationError(f"not a valid fault: {error}") from error


def _matches(pattern: str, text: str) -> bool:
    return pattern in ("*", text) or _compiled(pattern).match(text) is not None


@lru_cache(maxsize=256)
def _compiled(pattern: str) -> re.Pattern[str]:
    return re.compile(translate(pattern))
