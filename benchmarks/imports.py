"""The cost of `import nexmo_dispatch_async` compared with `import aiohttp`, by `python -X importtime`.

Each in fresh processes, in turns, compiled before; the ratio is the median over the turns, so that a busy
moment disturbs both. It says nothing of the first import after an installation, which compiles.

    make bench-imports          or          python benchmarks/imports.py --runs 25
"""

from __future__ import annotations

import argparse
import os
import re
import statistics
import subprocess
import sys
import tempfile

# The client is imported at its first use, so the target holds for both imports.
OURS = ("import nexmo_dispatch_async", "from nexmo_dispatch_async import DispatchClient")
THEIRS = "import aiohttp"
TARGET = 1.2


def import_times(statement: str, cache: str) -> dict[str, tuple[int, int, bool]]:
    """Import in a fresh process; return own and cumulative microseconds by module, and if it is outermost."""
    # A separate cache of compiled modules, so that compilation does not count in any environment.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    environment["PYTHONPYCACHEPREFIX"] = cache
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-c", statement],
        capture_output=True,
        text=True,
        check=True,
        env=environment,
    )
    line = re.compile(r"import time:\s+(\d+) \|\s+(\d+) \|( +)(\S+)")
    return {
        name: (int(own), int(total), len(indent) == 1)
        for own, total, indent, name in line.findall(done.stderr)
    }


def main() -> int:
    """Print the medians and whether the target holds."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--runs", type=int, default=25, help="of each")
    runs = parser.parse_args().runs

    statements = (THEIRS, *OURS)
    totals: dict[str, list[float]] = {statement: [] for statement in statements}
    whole: list[dict[str, tuple[int, int, bool]]] = []
    with tempfile.TemporaryDirectory() as cache:
        startup = import_times("pass", cache).keys()
        theirs, *_ = [import_times(statement, cache).keys() for statement in statements]
        for _ in range(runs):
            for statement in statements:
                times = import_times(statement, cache)
                outermost = [
                    total
                    for name, (_, total, is_outermost) in times.items()
                    if is_outermost and name not in startup
                ]
                totals[statement].append(sum(outermost) / 1000)
                if statement == OURS[-1]:
                    whole.append(times)

    print(f"Python {sys.version.split()[0]}, {runs} runs of each, milliseconds")
    ratios: list[float] = []
    for statement, figures in totals.items():
        low, middle, high = statistics.quantiles(figures, n=4)
        ratios.append(
            statistics.median(own / other for own, other in zip(figures, totals[THEIRS], strict=True))
        )
        print(
            f"  {statement:48} median {middle:6.1f} (quartiles {low:.1f} to {high:.1f}),"
            f" ratio {ratios[-1]:.3f}"
        )
    print("what the client loads and aiohttp does not, medians of the module itself:")
    names = {name for run in whole for name in run if name not in theirs}
    extra = {name: statistics.median(run[name][0] / 1000 for run in whole if name in run) for name in names}
    for name, own in sorted(extra.items(), key=lambda item: -item[1])[:10]:
        print(f"  {own:7.2f}  {name}")
    print(f"  {sum(extra.values()):7.2f}  all {len(extra)} of them")
    verdict = "holds" if max(ratios) <= TARGET else "MISSED"
    print(f"\nthe higher ratio {max(ratios[1:]):.3f}, target at most {TARGET}: {verdict}")
    return 0 if max(ratios) <= TARGET else 1


if __name__ == "__main__":
    sys.exit(main())
