"""The command behind `make mutants`; `make mutants ARGS="failover retry"` takes some modules."""

from __future__ import annotations

import argparse
import signal
import sys
import tempfile
from pathlib import Path

from tests.support.mutants.measure import ENOUGH, load_equivalents, measure
from tests.support.mutants.targets import TARGETS
from tests.support.mutants.trial import OPTIONS, Tree
from tests.support.paths import ROOT

PACKAGES = ("tests", "nexmo_dispatch_async", "nexmo_dispatch_core", "nexmo_dispatch_webhooks")

PROFILE = "--hypothesis-profile=mutants"


def main() -> int:
    parser = argparse.ArgumentParser(prog="make mutants", description=__doc__)
    parser.add_argument("words", nargs="*", help="parts of the paths of modules; all modules without any")
    parser.add_argument("--count", type=int, default=60, help="changes of each module (default: 60)")
    parser.add_argument("--seed", type=int, default=1, help="another seed is another sample (default: 1)")
    parser.add_argument("--narrow", action="store_true", help="try the mirror tests alone: a lower bound")
    asked = parser.parse_args()
    targets = [
        it._replace(wider=() if asked.narrow else it.wider)
        for it in TARGETS
        if not asked.words or any(word in it.module for word in asked.words)
    ]
    if not targets:
        parser.error(f"no module has {' or '.join(asked.words)} in its path")
    equivalents = load_equivalents(Path(__file__).parent / "equivalents.toml")
    print(f"{'module':60} tried killed explained   share", flush=True)
    results = []
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # the copy goes, whichever way this one ends
    with tempfile.TemporaryDirectory(prefix="mutants-") as room:
        tree = Tree(ROOT, Path(room).resolve() / "tree", PACKAGES, ("", "webhooks"), (*OPTIONS, PROFILE))
        for target in targets:
            results.append(measure(tree, target, equivalents, count=asked.count, seed=asked.seed))
            print(results[-1], flush=True)
    tried, killed, explained = (sum(column) for column in zip(*(it[1:4] for it in results), strict=True))
    total = killed / max(1, tried - explained)
    print(f"{f'{len(results)} modules':60} {tried:5} {killed:6} {explained:9}  {total:6.1%}")
    if bad := [it.module for it in results if not it.is_good]:
        print(f"below {ENOUGH:.0%}, or with an untrue explanation: {', '.join(bad)}")
    return bool(bad)


if __name__ == "__main__":
    sys.exit(main())
