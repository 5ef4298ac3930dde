"""Keys of an import are counted as a dictionary counts them, wherever their hashes are."""

from __future__ import annotations

import random
from collections import Counter

import pytest

from nexmo_dispatch_async.bulk.rows.seen import Seen


@pytest.mark.parametrize(("in_memory", "repeated"), [(1_000_000, 50_000), (700, 60), (60, 9), (90, 1000)])
def test_keys_are_counted_as_a_dictionary_counts_them(in_memory: int, repeated: int) -> None:
    """Keys that come once, twice and often, in memory and in the temporary files."""
    chance = random.Random(5)
    keys = [f"447700900{chance.randrange(1500)}" for _ in range(4000)] + ["", "\ud800", "é"] * 3
    chance.shuffle(keys)
    expected: Counter[str] = Counter()
    first: dict[str, int] = {}

    with Seen(in_memory, repeated) as seen:
        for line, key in enumerate(keys, 1):
            assert (key in seen) == (key in expected)
            expected[key] += 1
            assert seen.count(key, line) == expected[key]
            assert seen.first(key) == first.setdefault(key, line)
        assert all(key in seen for key in expected)
        assert "another" not in seen
        assert seen.first("another") == 0


def test_no_more_hashes_are_in_memory_than_were_allowed() -> None:
    """The others are in temporary files, each of which is there for as long as it is needed."""
    with Seen(7, 3) as seen:
        for number in range(300):
            seen.count(f"key {number % 40}")
            assert sum(map(len, seen._buckets)) < 7 * 20
            assert len(seen._repeats._counts) <= 3
        files = seen._file, seen._repeats._file
    assert None not in files
    assert (seen._file, seen._repeats._file) == (None, None)


def test_after_closing_nothing_is_known() -> None:
    """The hashes and the files are gone."""
    with Seen(2, 1) as seen:
        counted = [seen.count(key) for key in ("a", "b", "c", "a", "a", "b", "b")]

    assert counted == [1, 1, 1, 2, 3, 2, 3]
    assert "a" not in seen
