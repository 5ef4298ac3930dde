"""Print the lowest version that is allowed of each dependency, as requirements for pip. Run by `make floors`.

What is allowed stands in pyproject.toml alone; nothing is repeated here.
"""

import re
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

PROJECT = Path(__file__).parent.parent.parent / "pyproject.toml"
#: The groups that the tests need; the other ones check or measure, and are never installed by a user.
GROUPS = ("test",)

_FLOOR = re.compile(
    r"(?P<name>[A-Za-z0-9._-]+(?:\[[A-Za-z0-9,._-]+\])?)>=(?P<version>[0-9][0-9.]*)(?P<marker> *;.*)?"
)


def floors(project: dict[str, Any]) -> list[str]:
    """Return `name==lowest` for all that is needed to build, to run with every extra, and to test.

    Raises:
        ValueError: a dependency does not state its floor as `name>=version`, and nothing more.
    """
    table = project["project"]
    texts = [*project["build-system"]["requires"], *table["dependencies"]]
    for extra in table["optional-dependencies"].values():
        texts += extra
    for group in GROUPS:
        texts += _group(project["dependency-groups"], group)
    return [_lowest(text) for text in texts]


def _group(groups: dict[str, Any], name: str) -> Iterator[str]:
    for item in groups[name]:
        if isinstance(item, str):
            yield item
        else:
            yield from _group(groups, item["include-group"])


def _lowest(text: str) -> str:
    found = _FLOOR.fullmatch(text)
    if found is None:
        raise ValueError(f"{text!r} must read name>=version: the lowest version is the one that is tested")
    return f"{found['name']}=={found['version']}{found['marker'] or ''}"


if __name__ == "__main__":
    sys.stdout.write("\n".join(floors(tomllib.loads(PROJECT.read_text("utf-8")))) + "\n")
