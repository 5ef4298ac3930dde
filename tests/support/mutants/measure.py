"""Counts the changes of one module that its tests notice."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import NamedTuple

import msgspec

from tests.support.mutants.operators import Mutant, mutants_of, sample
from tests.support.mutants.targets import Target
from tests.support.mutants.trial import Tree

__all__ = ["ENOUGH", "Equivalent", "Measurement", "load_equivalents", "measure"]

#: The share of the changes without an explanation that tests must notice.
ENOUGH = 0.93


class Equivalent(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A change that a reviewer found to change no promise.

    Attributes:
        module: The path of the module.
        place: The class and function of the change, empty outside of both.
        old: The changed lines, with single spaces.
        new: What they become.
        reason: Why no test can, or should, notice the change.
    """

    module: str
    place: str
    old: str
    new: str
    reason: str


class Measurement(NamedTuple):
    """The result of one module; `problems` are entries of the list that say something untrue."""

    module: str
    tried: int
    killed: int
    explained: int
    survivors: list[Mutant]
    problems: list[str]

    @property
    def share(self) -> float:
        """The killed share of what no reviewer explained."""
        return self.killed / max(1, self.tried - self.explained)

    @property
    def is_good(self) -> bool:
        """Whether enough was noticed, and every explanation is true."""
        return self.share >= ENOUGH and not self.problems

    def __str__(self) -> str:
        counts = f"{self.tried:5} {self.killed:6} {self.explained:9}  {self.share:6.1%}"
        lines = [f"{self.module:60} {counts}{'' if self.is_good else '  not enough'}", *self.problems]
        for it in self.survivors:
            lines += [f"  {self.module}:{it.line} {it.place}", f"    - {it.old}", f"    + {it.new}"]
        return "\n".join(lines)


def load_equivalents(path: Path) -> list[Equivalent]:
    """Read the reviewed list; a member that is missing, empty or unknown is an error."""
    entries = tomllib.loads(path.read_text("utf-8")).get("equivalent", [])
    equivalents = msgspec.convert(entries, list[Equivalent])
    for each in equivalents:
        if len(each.reason) < 10:
            raise ValueError(f"{path}: an entry of {each.module} says no reason")
    return equivalents


def measure(
    tree: Tree, target: Target, equivalents: list[Equivalent], *, count: int, seed: int
) -> Measurement:
    """Try `count` changes of a module, each in a copy of its own text."""
    source = (tree.copy / target.module).read_text("utf-8")
    every = mutants_of(source)
    reviewed = {(it.place, it.old, it.new) for it in equivalents if it.module == target.module}
    problems = [f"  explains no change: {it}" for it in reviewed - {it[1:4] for it in every}]
    cpu = 10 + 5 * tree.prepare(target.module, target.mirror)
    wide: float | None = None
    killed = explained = 0
    survivors: list[Mutant] = []
    tried = sample(every, count, seed=seed)
    for mutant in tried:
        tree.write(target.module, mutant.source)
        noticed = not tree.passes(target.mirror, cpu=cpu)
        is_reviewed = mutant[1:4] in reviewed
        if not noticed and not is_reviewed and target.wider:
            if wide is None:
                tree.write(target.module, source)
                wide = 10 + 5 * tree.prepare(target.module, target.wider)
                tree.write(target.module, mutant.source)
            noticed = not tree.passes(target.wider, cpu=wide)
        killed += noticed
        explained += is_reviewed and not noticed
        if is_reviewed and noticed:
            problems.append(f"  explained, and yet a test notices it: {mutant[1:4]}")
        elif not noticed and not is_reviewed:
            survivors.append(mutant)
    tree.write(target.module, source)
    return Measurement(target.module, len(tried), killed, explained, survivors, problems)
