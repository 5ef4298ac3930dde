"""Randomness that follows from the seed and the purpose alone."""

import uuid

from nexmo_dispatch_async.simulator.world.seeded_random import SeededRandom


def test_one_seed_one_answer_whatever_was_asked_before() -> None:
    first, second = SeededRandom(7), SeededRandom(7)
    first.uuid("something else")

    assert first.uuid("a") == second.uuid("a")
    assert first.token("a", 28) == second.token("a", 28)


def test_seeds_and_purposes_differ() -> None:
    assert SeededRandom(1).uuid("a") != SeededRandom(2).uuid("a") != SeededRandom(2).uuid("b")


def test_uuids_are_version_4() -> None:
    drawn = [uuid.UUID(SeededRandom("x").uuid(str(number))) for number in range(50)]

    assert {(value.version, value.variant) for value in drawn} == {(4, uuid.RFC_4122)}


def test_between_includes_both_ends() -> None:
    random = SeededRandom(0)

    assert {random.between(str(number), 40, 42) for number in range(50)} == {40, 41, 42}


def test_shapes() -> None:
    random = SeededRandom(0)

    assert len(random.hex("a")) == 32
    assert len(random.token("a", 28)) == 28


def test_chance_and_the_normal_distribution() -> None:
    random = SeededRandom(3)

    happened = sum(random.chance(f"c/{n}", 0.2) for n in range(5000))
    drawn = [random.normal(f"n/{n}") for n in range(5000)]

    assert 900 < happened < 1100
    assert random.chance("x", 1)
    assert not random.chance("x", 0)
    mean = sum(drawn) / 5000
    assert abs(mean) < 0.05
    assert 0.95 < sum((x - mean) ** 2 for x in drawn) / 5000 < 1.05
