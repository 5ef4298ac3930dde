"""The Pythons of this machine among those that pyproject.toml claims."""

from __future__ import annotations

import re
import shutil
import subprocess
import tomllib
from pathlib import Path

from tests.support.paths import ROOT

__all__ = ["claimed_versions", "find_python"]


def claimed_versions() -> list[str]:
    """Return the versions of the classifiers, lowest first: `3.11` and so on."""
    classifiers = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["classifiers"]
    return re.findall(r"Python :: (3\.\d+)$", "\n".join(classifiers), re.MULTILINE)


def find_python(version: str) -> str | None:
    """Return the path of a working interpreter, on the path or of pyenv, or None."""
    pyenv = sorted(Path.home().glob(f".pyenv/versions/{version}.*/bin/python"))
    for candidate in [shutil.which(f"python{version}"), *map(str, pyenv)]:
        if candidate is None:
            continue
        probe = "import sys; print('%d.%d' % sys.version_info[:2])"
        done = subprocess.run([candidate, "-Ic", probe], capture_output=True, text=True, check=False)
        if done.stdout.strip() == version:
            return candidate
    return None
