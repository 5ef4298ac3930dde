"""Install the wheel on each claimed Python of this machine, and use it as users do. Run by `make installed`.

Each environment is made in a folder of its own, outside of the repository: with the newest versions of what
the wheel needs everywhere, and with the lowest allowed ones on the lowest Python.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path

from tests.support.floors import floors
from tests.support.interpreters import claimed_versions, find_python
from tests.support.paths import ROOT

PROGRAM = Path(__file__).parent / "installed_program.py"
PIP = ("-m", "pip", "install", "--quiet", "--disable-pip-version-check")
BOUND_S = 300


def run(*command: str, cwd: Path) -> str:
    """Return what a command prints; SystemExit with its complaint if it fails or takes too long."""
    environment = {
        k: v for k, v in os.environ.items() if k not in {"PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV"}
    }
    done = subprocess.run(
        command, cwd=cwd, env=environment, capture_output=True, text=True, check=False, timeout=BOUND_S
    )
    if done.returncode:
        sys.exit(f"{' '.join(command)} ended with {done.returncode}\n{done.stdout}\n{done.stderr}")
    return done.stdout


def use(python: str, wheel: Path, *constraints: str) -> str:
    """Install the wheel with its command into a new environment, and return what the programs said."""
    with tempfile.TemporaryDirectory() as folder:
        room = Path(folder)
        run(python, "-m", "venv", str(room / "venv"), cwd=room)
        binaries = room / "venv" / "bin"
        own = str(binaries / "python")
        limits: list[str] = []
        if constraints:
            (room / "lowest.txt").write_text("\n".join(constraints), "utf-8")
            limits = ["--constraint", str(room / "lowest.txt")]
        run(own, *PIP, *limits, f"{wheel}[cli]", cwd=room)
        run(own, "-m", "pip", "check", cwd=room)

        (room / "program.py").write_text(PROGRAM.read_text("utf-8"), "utf-8")
        said = run(own, "-W", "error", "program.py", cwd=room).strip()
        command = str(binaries / "nexmo-dispatch")
        version = run(command, "--version", cwd=room).strip()
        demo = run(command, "demo", cwd=room)
        if "callbacks arrived, each verified; as expected" not in demo:
            sys.exit(f"the demo did not end as expected:\n{demo}")
        return f"{said}; {version}, demo as expected"


def lowest() -> list[str]:
    """Return the lowest versions of what users install, as constraints, which have no extras in brackets."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    lines = floors({**project, "dependency-groups": {"test": []}})
    return [line.split("[", 1)[0] + "==" + line.split("==", 1)[1] if "[" in line else line for line in lines]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("wheel", type=Path)
    parser.add_argument("--python", metavar="VERSION", help="only this version, which must be there")
    arguments = parser.parse_args()
    wheel: Path = arguments.wheel.resolve(strict=True)
    claimed = claimed_versions()
    wanted = [arguments.python] if arguments.python else claimed
    used = 0
    for version in wanted:
        python = find_python(version)
        if python is None and arguments.python:
            sys.exit(f"Python {version} is not installed")
        if python is None:
            print(f"Python {version}: not installed, left out", flush=True)
            continue
        print(f"Python {version}, newest versions: {use(python, wheel)}", flush=True)
        used += 1
        if version == claimed[0]:
            print(f"Python {version}, lowest versions: {use(python, wheel, *lowest())}", flush=True)
    if not used:
        sys.exit("no claimed Python is installed: nothing was tested")


if __name__ == "__main__":
    main()
