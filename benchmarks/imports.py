"""What `import nexmo_dispatch_async` costs, next to `import aiohttp`, by `python -X importtime`.

Both in fresh processes, in turns, compiled before; the medians are compared. It says nothing of the
first import after an installation, which compiles.

    make bench-imports          or          python benchmarks/imports.py --runs 15
"""

from __future__ import annotations

import argparse
import os
import re
import statistics
import subprocess
import sys
import tempfile

OURS, THEIRS = "nexmo_dispatch_async", "aiohttp"
TARGET = 1.2


def import_times(package: str, cache: str) -> dict[str, tuple[int, int]]:
    """Import in a fresh process; return own and cumulative microseconds by module."""
    # A cache of compiled modules of our own: whatever the environment says, nobody pays for compiling.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    environment["PYTHONPYCACHEPREFIX"] = cache
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-c", f"import {package}"],
        capture_output=True,
        text=True,
        check=True,
        env=environment,
    )
    line = re.compile(r"import time:\s+(\d+) \|\s+(\d+) \| +(\S+)")
    return {name: (int(own), int(total)) for own, total, name in line.findall(done.stderr)}


def main() -> int:
    """Print the medians and say whether the target holds."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--runs", type=int, default=15, help="of each")
    runs = parser.parse_args().runs

    totals: dict[str, list[float]] = {OURS: [], THEIRS: []}
    beside: list[dict[str, tuple[int, int]]] = []
    with tempfile.TemporaryDirectory() as cache:
        import_times(OURS, cache)
        theirs = set(import_times(THEIRS, cache))
        for _ in range(runs):
            totals[THEIRS].append(import_times(THEIRS, cache)[THEIRS][1] / 1000)
            beside.append(import_times(OURS, cache))
            totals[OURS].append(beside[-1][OURS][1] / 1000)

    print(f"Python {sys.version.split()[0]}, {runs} runs of each, milliseconds")
    for package, figures in totals.items():
        low, middle, high = statistics.quantiles(figures, n=4)
        print(f"  {package:24} median {middle:7.1f}  (quartiles {low:.1f} to {high:.1f})")
    print("what we load and aiohttp does not, medians of the module itself:")
    names = {name for run in beside for name in run if name not in theirs}
    extra = {name: statistics.median(run[name][0] / 1000 for run in beside if name in run) for name in names}
    for name, own in sorted(extra.items(), key=lambda item: -item[1])[:12]:
        print(f"  {own:7.2f}  {name}")
    print(f"  {sum(extra.values()):7.2f}  all {len(extra)} of them")
    ratio = statistics.median(totals[OURS]) / statistics.median(totals[THEIRS])
    verdict = "holds" if ratio <= TARGET else "MISSED"
    print(f"\nratio {ratio:.3f}, target at most {TARGET}: {verdict}")
    return 0 if ratio <= TARGET else 1


if __name__ == "__main__":
    sys.exit(main())
