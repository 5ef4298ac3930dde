"""Hold a tag against what would be released: `python -m tests.support.release_tag v1.2.3`."""

from __future__ import annotations

import re
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent


def problems(tag: str, version_module: str, changelog: str) -> list[str]:
    """Return why a tag must not be released: another version, or one that the changelog does not tell of."""
    found = re.search(r'^__version__ = "([^"]+)"$', version_module, re.MULTILINE)
    version = found[1] if found else ""
    heading = rf"^## \[?{re.escape(version)}\]?(?: |$)"
    return [
        *([] if tag == f"v{version}" else [f"the tag is {tag}, and the version {version}: tag v{version}"]),
        *(
            []
            if re.search(heading, changelog, re.MULTILINE)
            else [f"CHANGELOG.md has no heading ## [{version}]"]
        ),
    ]


if __name__ == "__main__":
    module = (ROOT / "nexmo_dispatch_async" / "_version.py").read_text("utf-8")
    complaints = problems(sys.argv[1], module, (ROOT / "CHANGELOG.md").read_text("utf-8"))
    sys.exit("\n".join(complaints) or None)
