"""Look for known vulnerabilities in what a user installs. Run by `make audit`, in an environment of its own.

The versions are the lowest allowed ones and the newest, without installing either. An advisory service that
cannot be reached is no pass: the exit code is then 3.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
VULNERABLE, NOT_AUDITED = 1, 3
BOUND_S = 300


def verdict(name: str, returncode: int, printed: str, complaint: str) -> tuple[int, str]:
    """Return the exit code and a line for one run of pip-audit: 0 needs a report of every package."""
    try:
        report = json.loads(printed)
        packages = report["dependencies"]
    except (ValueError, KeyError, TypeError):
        reason = (complaint.strip().splitlines() or ["it printed no report"])[-1]
        return NOT_AUDITED, f"{name}: NOT AUDITED, the advisory service gave no answer: {reason[:300]}"
    skipped = [each["name"] for each in packages if "skip_reason" in each]
    found = [
        f"{each['name']} {each['version']}: {weakness['id']}"
        for each in packages
        for weakness in each.get("vulns", [])
    ]
    if found:
        return VULNERABLE, f"{name}: {len(found)} known vulnerabilities: {', '.join(found)}"
    if skipped:
        return NOT_AUDITED, f"{name}: NOT AUDITED, unknown to the advisory service: {', '.join(skipped)}"
    if not packages or returncode:
        return (
            NOT_AUDITED,
            f"{name}: NOT AUDITED, pip-audit ended with {returncode} and {len(packages)} packages",
        )
    return 0, f"{name}: {len(packages)} packages, no known vulnerability"


def pinned(python: str, requirements: Sequence[str]) -> list[str]:
    """Return what pip would install, as `name==version`, without installing it."""
    command = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--dry-run"]
    command += ["--ignore-installed", "--report", "-", *requirements]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=BOUND_S)
    metadata = [each["metadata"] for each in json.loads(done.stdout)["install"]]
    return sorted(f"{each['name']}=={each['version']}" for each in metadata)


def audit(name: str, requirements: Sequence[str]) -> int:
    """Audit one set of requirements, print the verdict, and return its exit code."""
    with tempfile.TemporaryDirectory() as folder:
        pins = Path(folder) / "requirements.txt"
        pins.write_text("\n".join(pinned(sys.executable, requirements)), "utf-8")
        command = [
            sys.executable,
            "-m",
            "pip_audit",
            "--requirement",
            str(pins),
            "--no-deps",
            "--disable-pip",
        ]
        command += ["--format", "json", "--progress-spinner", "off"]
        try:
            done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=BOUND_S)
        except subprocess.TimeoutExpired:
            code, line = verdict(name, 1, "", f"no answer within {BOUND_S} s")
        else:
            code, line = verdict(name, done.returncode, done.stdout, done.stderr)
    print(line, flush=True)
    return code


def main() -> None:
    table = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    newest = [
        *table["dependencies"],
        *(each for extra in table["optional-dependencies"].values() for each in extra),
    ]
    lowest = [re.sub(r">=", "==", text) for text in newest]
    codes = [audit("newest versions", newest), audit("lowest versions", lowest)]
    sys.exit(VULNERABLE if VULNERABLE in codes else max(codes))


if __name__ == "__main__":
    main()
