"""The versions of this package and of what it needs, for `nexmo-dispatch doctor`."""

from __future__ import annotations

import platform
import re
from collections.abc import Callable, Iterable
from importlib import metadata

from nexmo_dispatch_async._version import __version__
from nexmo_dispatch_core.findings import Finding, bad, good, warning

__all__ = ["DISTRIBUTION", "examine_versions", "read_requirements"]

DISTRIBUTION = "nexmo-dispatch-async"
_REQUIREMENT = re.compile(r"([\w.-]+)(?:\[[\w,]*\])?\s*>=\s*([\d.]+)\s*(?:;\s*(.*))?")


def read_requirements() -> list[str]:
    """Return the requirements of the installed distribution; none if it is not installed."""
    try:
        return metadata.requires(DISTRIBUTION) or []
    except metadata.PackageNotFoundError:
        return []


def _installed(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def examine_versions(
    requirements: Iterable[str], installed: Callable[[str], str | None] = _installed
) -> list[Finding]:
    """Return which dependencies are missing or older than the lowest version that is tested.

    Args:
        requirements: As in the metadata of the distribution: `aiohttp>=3.14.4; extra == "cli"`.
        installed: Gives the version of a distribution, None if it is not installed.
    """
    requirements = list(requirements)
    wrong: list[Finding] = []
    versions: list[str] = []
    for requirement in requirements:
        match = _REQUIREMENT.fullmatch(requirement.strip())
        if match is None:
            continue
        name, floor, marker = match[1], match[2], match[3] or ""
        version = installed(name)
        if version is None:
            if "extra" not in marker:
                cure = f"pip install '{name}>={floor}'"
                wrong.append(bad("dependency-missing", f"{name} is not installed", cure))
        elif _numbers(version) < _numbers(floor):
            text = f"{name} is {version}, below {floor}: limits that are documented do not hold"
            wrong.append(bad("dependency-old", text, f"pip install --upgrade '{name}>={floor}'"))
        else:
            versions.append(f"{name} {version}")
    if not requirements:
        text = f"the metadata of {DISTRIBUTION} is missing, so no version can be compared"
        wrong.append(warning("metadata-missing", text, f"pip install '{DISTRIBUTION}[cli]'"))
    ours = f"{DISTRIBUTION} {__version__} on {platform.python_implementation()} {platform.python_version()}"
    return [good("versions", ", ".join([ours, *sorted(set(versions))])), *wrong]


def _numbers(version: str) -> tuple[int, ...]:
    """Return the release of a version as numbers; what follows, such as `rc1`, does not count."""
    found = re.match(r"\d+(?:\.\d+)*", version)
    numbers = [int(part) for part in found[0].split(".")] if found else []
    while numbers and numbers[-1] == 0:
        numbers.pop()
    return tuple(numbers)
