"""Pages that name the files of their blocks: the files are saved, and commands say what the page says."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.pages import PAGES, blocks, conversations, name_of, output_pattern

# The parts of the tutorial share a folder, and so do the files of one page.
TUTORIAL = ("tutorial.md", "tutorial_callbacks.md", "tutorial_replies.md")
# test_other_languages.py runs its page.
TITLED = [
    page for page in PAGES if page.name != "other_languages.md" and any(block.title for block in blocks(page))
]
# What prepares a machine is not run again: the tests have their environment.
PREPARING = ("python3 -m venv ", ". .venv/bin/activate", "pip install ")

WITHOUT_PLUGINS = " ".join(
    f"-p no:{name}" for name in ("hypothesispytest", "schemathesis", "faker", "randomly", "xdist")
)


def run(command: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run a command of a page as a reader does: in a shell, with the environment's programs first."""
    # Settings of these tests are none of a reader's, nor are their plugins, which take most of a small run.
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return subprocess.run(
        ["sh", "-c", command],
        cwd=folder,
        env=inherited | {"PATH": path, "PYTEST_ADDOPTS": WITHOUT_PLUGINS},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def play(page: Path, folder: Path) -> int:
    """Save the files of a page and run its commands, from top to bottom; return the number of commands."""
    commands = 0
    for block in blocks(page):
        if block.title:
            (folder / block.title).write_text(block.code, "utf-8")
        elif block.language == "console":
            for command, shown in conversations(block.code):
                if command.startswith(PREPARING):
                    continue
                done = run(command, folder)
                commands += 1
                fails = "AssertionError" in shown
                assert (done.returncode != 0) == fails, f"{command}\n{done.stdout}\n{done.stderr}"
                assert re.fullmatch(output_pattern(shown), done.stdout), f"{command}\n{done.stdout}"
    return commands


@pytest.mark.timeout(180)
def test_the_tutorial_runs_from_part_to_part(tmp_path: Path) -> None:
    """A newcomer who saves the files and types the commands sees what the pages show."""
    pages = {page.name: page for page in TITLED}

    played = [play(pages[name], tmp_path) for name in TUTORIAL]

    assert played == [6, 3, 1]


@pytest.mark.timeout(120)
@pytest.mark.parametrize("page", [page for page in TITLED if page.name not in TUTORIAL], ids=name_of)
def test_the_files_of_a_page_do_what_the_page_says(page: Path, tmp_path: Path) -> None:
    """The same for a page of its own."""
    assert play(page, tmp_path) > 0


def test_what_the_pages_install_is_what_the_package_has() -> None:
    """An extra that a page names exists."""
    named = {
        extra
        for page in PAGES
        for extras in re.findall(r"nexmo-dispatch-async\[([\w,]+)\]", page.read_text("utf-8"))
        for extra in extras.split(",")
    }

    assert named - {"cli", "excel", "nats", "otel", "phone", "postgres"} == set()
    assert "cli" in named
