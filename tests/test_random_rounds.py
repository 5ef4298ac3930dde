"""`make test-random`: rounds of tests in random order."""

import itertools
from pathlib import Path

import pytest

from tests.support.random_rounds import main, play, report

TESTS = """
from pathlib import Path
import pytest

@pytest.mark.parametrize("number", range(9))
def test_of(number):
    with Path("order.txt").open("a") as order:
        order.write(str(number))
    {more}
"""


def test_a_round_that_fails_is_the_last_one(capsys: pytest.CaptureFixture[str]) -> None:
    """The seed is printed before its round, and the table says how to repeat the failure."""
    seconds = itertools.count(step=30)

    played = play([11, 12, 13], lambda seed: seed == 11, clock=lambda: float(next(seconds)))

    assert capsys.readouterr().out == "round 1 of 3: seed 11\nround 2 of 3: seed 12\n"
    assert report(played).splitlines() == [
        "round        seed  passed  seconds",
        "    1          11  yes        30.0",
        "    2          12  NO         30.0",
        "repeat it with: make test-random ROUNDS=1 SEED=12",
    ]


@pytest.mark.long
@pytest.mark.timeout(240)  # four programs of pytest
def test_each_seed_has_an_order_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Equal seeds have equal orders, another seed another one; a failed test is a failed round."""
    monkeypatch.chdir(tmp_path)
    test, order = tmp_path / "test_numbers.py", tmp_path / "order.txt"
    test.write_text(TESTS.format(more=""), "utf-8")
    orders: list[str] = []
    for seed in ("5", "5", "6"):
        order.unlink(missing_ok=True)
        assert main(["--rounds", "1", "--seed", seed, "--", "-q", "-pno:cacheprovider", str(test)]) == 0
        orders.append(order.read_text("ascii"))

    assert orders[0] == orders[1] != orders[2]
    assert sorted(orders[0]) == sorted(orders[2]) == list("012345678")

    test.write_text(TESTS.format(more="assert number != 7"), "utf-8")
    assert main(["--rounds", "3", "--", "-q", "-pno:cacheprovider", str(test)]) == 1
