"""Run tests again and again in random order, up to the first round that fails. Run by `make test-random`.

The seed of a round decides the order of the tests, what `random` draws in each of them, and the hashes of
texts, so the order of sets.
"""

from __future__ import annotations

import argparse
import os
import secrets
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

__all__ = ["Round", "main", "play", "report"]

#: Seeds are those of hashes as well: PYTHONHASHSEED takes no larger ones.
SEEDS = 2**32


@dataclass(frozen=True, slots=True)
class Round:
    """A round that was played.

    Attributes:
        seed: Of the order.
        passed: Whether every test passed.
        seconds: Its duration.
    """

    seed: int
    passed: bool
    seconds: float


def play(
    seeds: Sequence[int], run: Callable[[int], bool], *, clock: Callable[[], float] = time.monotonic
) -> list[Round]:
    """Run a round for each seed, up to the first that fails; return the rounds that were played.

    Args:
        seeds: One for each round.
        run: Runs the tests with a seed and returns whether every one passed.
        clock: Seconds that only go forward.
    """
    played: list[Round] = []
    for number, seed in enumerate(seeds, 1):
        sys.stdout.write(f"round {number} of {len(seeds)}: seed {seed}\n")
        sys.stdout.flush()
        began = clock()
        played.append(Round(seed, run(seed), clock() - began))
        if not played[-1].passed:
            break
    return played


def report(played: Sequence[Round]) -> str:
    """Return the table of the rounds, and how to repeat the one that failed."""
    lines = [f"{'round':>5}  {'seed':>10}  {'passed':<6}  {'seconds':>7}"]
    lines += [
        f"{number:>5}  {each.seed:>10}  {'yes' if each.passed else 'NO':<6}  {each.seconds:>7.1f}"
        for number, each in enumerate(played, 1)
    ]
    if not played[-1].passed:
        lines.append(f"repeat it with: make test-random ROUNDS=1 SEED={played[-1].seed}")
    return "\n".join(lines)


def run_tests(arguments: Sequence[str], seed: int) -> bool:
    """Run pytest in random order; return whether every test passed."""
    shuffled = ("-p", "randomly", f"--randomly-seed={seed}")
    command = (sys.executable, "-m", "pytest", *shuffled, *arguments)
    done = subprocess.run(command, env={**os.environ, "PYTHONHASHSEED": str(seed)}, check=False)
    return done.returncode == 0


def main(arguments: Sequence[str] | None = None) -> int:
    """Play the rounds; return 1 if one failed."""
    parser = argparse.ArgumentParser(prog="python -m tests.support.random_rounds", description=__doc__)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--seed", type=int, help="of the first round; each round after it has a new one")
    parser.add_argument("pytest", nargs="*", help="arguments of pytest, after --")
    chosen = parser.parse_args(arguments)
    seeds = [secrets.randbelow(SEEDS) for _ in range(chosen.rounds)]
    if chosen.seed is not None:
        seeds[:1] = [chosen.seed]
    played = play(seeds, lambda seed: run_tests(chosen.pytest, seed))
    sys.stdout.write(f"{report(played)}\n")
    return 0 if played[-1].passed else 1


if __name__ == "__main__":
    sys.exit(main())
