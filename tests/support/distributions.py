"""What the wheel and the sdist must hold, and what they must not: lists of problems, empty when all is well.

Pure: names and texts in, problems out. `check_wheel.py` builds the two and asks here.
"""

from __future__ import annotations

import email
import re
import subprocess
from collections.abc import Iterable
from email.message import Message
from pathlib import Path
from typing import Any

from nexmo_dispatch_core.documentation import TITLES

__all__ = [
    "PACKAGES",
    "metadata_problems",
    "package_files",
    "sdist_problems",
    "tracked_files",
    "wheel_problems",
]

#: Each import package, and where it is in the repository.
PACKAGES = {
    "nexmo_dispatch_async": "nexmo_dispatch_async",
    "nexmo_dispatch_core": "nexmo_dispatch_core",
    "nexmo_dispatch_webhooks": "webhooks/nexmo_dispatch_webhooks",
}
#: Files of the wheel that are elsewhere in the repository.
_MOVED = {f"docs/{name}.md": f"nexmo_dispatch_core/pages/{name}.md" for name in TITLES}
#: What hatchling writes itself.
_MADE_BY_BUILD = {"METADATA", "WHEEL", "RECORD", "entry_points.txt", "licenses/LICENSE"}
#: What is not a part of a release: the configuration of this repository's own checks.
_LEFT_OUT = (".ci/",)


def tracked_files(root: Path) -> set[str]:
    """Return the paths of the files that the repository holds; what only lies in the folder is none."""
    command = ["git", "-C", str(root), "ls-files", "-z"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return {name for name in done.stdout.split("\0") if name and (root / name).is_file()}


def package_files(tracked: Iterable[str]) -> set[str]:
    """Return the names in the wheel of the files of the import packages."""
    tracked = set(tracked)
    names = {_MOVED[path] for path in _MOVED if path in tracked}
    for package, folder in PACKAGES.items():
        names |= {package + path.removeprefix(folder) for path in tracked if path.startswith(f"{folder}/")}
    return names


def wheel_problems(names: Iterable[str], tracked: Iterable[str]) -> list[str]:
    """Compare the files of a wheel with those of the repository: the packages, all of each, and no more."""
    found = {name for name in names if ".dist-info/" not in name}
    made = {name.split(".dist-info/", 1)[1] for name in names if ".dist-info/" in name}
    wanted = package_files(tracked)
    return [
        *(f"missing in the wheel: {name}" for name in sorted(wanted - found)),
        *(f"in the wheel and not in the repository: {name}" for name in sorted(found - wanted)),
        *(
            f"missing in the wheel: {package}/py.typed"
            for package in PACKAGES
            if f"{package}/py.typed" not in found
        ),
        *(f"missing in .dist-info: {name}" for name in sorted(_MADE_BY_BUILD - made)),
        *(f"not wanted in .dist-info: {name}" for name in sorted(made - _MADE_BY_BUILD)),
    ]


def sdist_problems(names: Iterable[str], tracked: Iterable[str]) -> list[str]:
    """Compare the files of an sdist with those of the repository: all but the settings of its own checks."""
    found = {name.split("/", 1)[1] for name in names if "/" in name}
    wanted = {name for name in tracked if not name.startswith(_LEFT_OUT)} | {"PKG-INFO"}
    return [
        *(f"missing in the sdist: {name}" for name in sorted(wanted - found)),
        *(f"in the sdist and not in the repository: {name}" for name in sorted(found - wanted)),
    ]


def metadata_problems(text: str, project: dict[str, Any]) -> list[str]:
    """Compare the metadata of a wheel with pyproject.toml: what a package index and pip go by."""
    message: Message[str, str] = email.message_from_string(text)
    wanted = {
        "Name": [project["name"]],
        "License-Expression": [project["license"]],
        "Requires-Python": [project["requires-python"]],
        "Classifier": project["classifiers"],
        "Provides-Extra": sorted(project["optional-dependencies"]),
        "Description-Content-Type": ["text/markdown"],
    }
    problems = [
        f"{field} is {message.get_all(field)}, not {values}"
        for field, values in wanted.items()
        if sorted(message.get_all(field) or []) != sorted(values)
    ]
    needs = {_requirement(text) for text in message.get_all("Requires-Dist") or []}
    runtime = {_requirement(text) for text in project["dependencies"]}
    for extra, texts in project["optional-dependencies"].items():
        runtime |= {_requirement(f"{text}; extra == '{extra}'") for text in texts}
    return [
        *problems,
        *(f"Requires-Dist lacks {text}" for text in sorted(runtime - needs)),
        *(f"Requires-Dist has {text}" for text in sorted(needs - runtime)),
    ]


def _requirement(text: str) -> str:
    """Return a requirement in one spelling."""
    return re.sub(r"\s+", "", text.replace('"', "'")).lower()
