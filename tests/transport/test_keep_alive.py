"""How long an idle connection may be used, by what the service announces."""

import gc

import pytest

from nexmo_dispatch_async.transport.keep_alive import KeptConnections, usable_seconds
from tests.support.clock import Time


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("timeout=5", 4.0),
        ("timeout=5, max=100", 4.0),
        ("max=100,timeout=75", 74.0),
        ("Timeout = 5", 4.0),
        ('timeout="5"', 4.0),
        ("timeout=2", 1.0),
        ("timeout=1", 0.5),
        ("timeout=0", 0.0),
        ("300", None),
        ("max=100", None),
        ("idletimeout=5", None),
        ("timeout=soon", None),
        ("timeout=-1", None),
        ("", None),
    ],
)
def test_the_announced_time_minus_a_margin(header: str, seconds: float | None) -> None:
    """A second less than announced, and half of it where that is less than two seconds."""
    assert usable_seconds(header) == seconds


class Connection:
    """Stands for one."""


def is_usable(kept: KeptConnections, connection: Connection) -> bool:
    until = kept.of(connection).until
    return until is None or until >= kept.clock()


def test_a_connection_is_over_when_its_time_has_passed_since_the_request() -> None:
    time, connection = Time(), Connection()
    kept = KeptConnections(time)
    kept.answered(connection, "timeout=5", time.now)

    time.now += 4.0
    assert is_usable(kept, connection)
    time.now += 0.01
    assert not is_usable(kept, connection)


def test_the_last_answer_counts() -> None:
    """Also if it announces nothing."""
    time, connection = Time(), Connection()
    kept = KeptConnections(time)
    kept.answered(connection, "timeout=5", time.now)
    kept.answered(connection, "timeout=60", time.now)

    time.now += 30
    assert is_usable(kept, connection)
    kept.answered(connection, None, time.now)
    time.now += 1e6
    assert is_usable(kept, connection)


def test_a_connection_is_fresh_until_it_answered() -> None:
    kept, connection = KeptConnections(Time()), Connection()

    assert kept.of(connection).until is None
    assert is_usable(kept, connection)
    kept.answered(connection, None, 0.0)
    assert kept.of(connection).until is not None


def test_no_connection_is_kept_in_memory() -> None:
    kept, connection = KeptConnections(Time()), Connection()
    kept.answered(connection, "timeout=5", 0.0)

    del connection
    gc.collect()

    assert len(kept._known) == 0
