"""Pages that name the files of their blocks: the files are saved, and commands say what the page says."""

import asyncio
import importlib
import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from nexmo_dispatch_async.simulator import Simulator
from tests.support.pages import PAGES, blocks, conversations, name_of, output_pattern
from tests.support.paths import ROOT

# pytester forgets what the tests inside of a test have imported; what is here already need not come again.
for name in ("fastapi", "nexmo_dispatch_async.client", "nexmo_dispatch_async.simulator.assertions"):
    importlib.import_module(name)
for name in ("aiohttp", "asgi", "testing"):
    importlib.import_module(f"nexmo_dispatch_webhooks.{name}")

pytest_plugins = ["pytester"]

# The parts of the tutorial share a folder, and so do the files of one page.
TUTORIAL = ("tutorial.md", "tutorial_callbacks.md", "tutorial_replies.md")
# test_other_languages.py runs its page.
TITLED = [
    page for page in PAGES if page.name != "other_languages.md" and any(block.title for block in blocks(page))
]
FIRST_PAGES = [ROOT / "README.md", ROOT / "docs" / "index.md"]
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


def run_pytest(command: str, pytester: pytest.Pytester) -> subprocess.CompletedProcess[str]:
    """Run pytest as `run` does, but in this process, which has imported most of it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "dont_write_bytecode", True)  # a page may change a file within a second
        result = pytester.runpytest_inprocess(*WITHOUT_PLUGINS.split(), *shlex.split(command)[1:])
    return subprocess.CompletedProcess(command, int(result.ret), f"{result.stdout}\n", str(result.stderr))


def play(page: Path, pytester: pytest.Pytester, *, in_process: bool = True) -> int:
    """Save the files of a page and run its commands, from top to bottom; return the number of commands.

    Args:
        page: The page.
        pytester: Has the folder of the files.
        in_process: Whether pytest runs in the process of this test.
    """
    folder, commands = pytester.path, 0
    for name in re.findall(r"Save \[(\w+\.py)\]\(\.\./examples/\1\)", page.read_text("utf-8")):
        (folder / name).write_text((ROOT / "examples" / name).read_text("utf-8"), "utf-8")
    for block in blocks(page):
        if block.title:
            (folder / block.title).write_text(block.code, "utf-8")
        elif block.language == "console":
            for command, shown in conversations(block.code):
                if command.startswith(PREPARING):
                    continue
                own = in_process and command.startswith("pytest ")
                done = run_pytest(command, pytester) if own else run(command, folder)
                commands += 1
                fails = "AssertionError" in shown
                assert (done.returncode != 0) == fails, f"{command}\n{done.stdout}\n{done.stderr}"
                assert re.fullmatch(output_pattern(shown), done.stdout), f"{command}\n{done.stdout}"
    return commands


@pytest.mark.timeout(180)
def test_the_tutorial_runs_from_part_to_part(pytester: pytest.Pytester) -> None:
    """A newcomer who saves the files and types the commands sees what the pages show.

    The first page in processes, as the newcomer does.
    """
    pages = {page.name: page for page in TITLED}

    played = [play(pages[name], pytester, in_process=name != TUTORIAL[0]) for name in TUTORIAL]

    assert played == [6, 3, 1]


async def test_the_program_of_the_tutorial_sends_to_a_simulator_that_runs(tmp_path: Path) -> None:
    """With the settings that `simulate` prints; without them one line names what is missing."""
    command = live_send(tmp_path)
    async with Simulator() as sim:
        lines = [f"export {name}={value}\n" for name, value in settings_of(sim).items()]
        (tmp_path / "env.sh").write_text("".join(lines), "utf-8")
        sent = await asyncio.to_thread(run, command, tmp_path)
        refused = await asyncio.to_thread(run, "python live_send.py", tmp_path)

        answer = json.loads(sim.requests[-1].answer)
    assert sent.stdout == f"sent as {answer['dispatch_uuid']}\n", sent.stderr
    assert (refused.returncode, refused.stdout) == (1, "")
    assert refused.stderr == (
        "set NEXMO_DISPATCH_CLIENT_ID, NEXMO_DISPATCH_CLIENT_SECRET and NEXMO_DISPATCH_APPLICATION_ID in the "
        "environment\n"
    )


async def test_without_a_simulator_nothing_is_sent_with_the_settings_of_an_account(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A start on a port in use leaves no `--env` file, and after `> env.sh` one that stops the shell."""
    command = live_send(tmp_path)
    async with Simulator() as account:
        for name, value in settings_of(account).items():
            monkeypatch.setenv(name, value)
        simulate = f"nexmo-dispatch simulate --port {account.url.rpartition(':')[2]}"
        done = await asyncio.to_thread(run, f"{simulate} --env env.sh", tmp_path)
        missing = await asyncio.to_thread(run, command, tmp_path)
        redirected = await asyncio.to_thread(run, f"{simulate} > env.sh", tmp_path)
        failed = await asyncio.to_thread(run, command, tmp_path)
        later = await asyncio.to_thread(run, ". ./env.sh; python live_send.py", tmp_path)

        assert account.accepted == 0
    assert done.returncode == redirected.returncode == failed.returncode == 1
    assert missing.returncode != 0
    assert "env.sh" in missing.stderr
    assert failed.stderr == "these are no settings: nexmo-dispatch simulate did not start\n"
    assert later.stderr.splitlines()[1].startswith("set NEXMO_DISPATCH_CLIENT_ID, ")


def live_send(folder: Path) -> str:
    """Save the files of the program that sends to a simulator that runs; return the command of the page."""
    page = next(page for page in TITLED if page.name == TUTORIAL[0])
    for block in blocks(page):
        if block.title in {"parcel.py", "live_send.py"}:
            (folder / block.title).write_text(block.code, "utf-8")
    return next(block.code for block in blocks(page) if "&& python live_send.py" in block.code)


def settings_of(sim: Simulator) -> dict[str, str]:
    """Return what `nexmo-dispatch simulate` prints."""
    values = {
        "TOKEN_URL": sim.token_url,
        "BASE_URL": sim.base_url,
        "CLIENT_ID": sim.client_id,
        "CLIENT_SECRET": sim.client_secret,
        "APPLICATION_ID": sim.create_application().id,
    }
    return {f"NEXMO_DISPATCH_{name}": value for name, value in values.items()}


@pytest.mark.timeout(120)
@pytest.mark.parametrize("page", [page for page in TITLED if page.name not in TUTORIAL], ids=name_of)
def test_the_files_of_a_page_do_what_the_page_says(page: Path, pytester: pytest.Pytester) -> None:
    """The same for a page of its own."""
    assert play(page, pytester) > 0


def test_the_first_program_is_the_same_on_both_first_pages(tmp_path: Path) -> None:
    """README and site begin with one program, which shows a failover as the text below it says."""
    first, same = (next(b for b in blocks(page) if b.language == "python") for page in FIRST_PAGES)
    (tmp_path / "first.py").write_text(first.code, "utf-8")

    printed = run("python first.py", tmp_path).stdout

    assert first.code == same.code
    said = "was sent on ['whatsapp', 'sms']"
    assert printed.endswith(f" {said}\n")
    assert all(f"`{said}`" in page.read_text("utf-8") for page in FIRST_PAGES)


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


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_a_page_with_the_command_says_where_it_comes_from(page: Path) -> None:
    """It is in the extra `cli`: the page installs that, or leads to the page of the command."""
    text = page.read_text("utf-8")
    shells = "".join(block.code for block in blocks(page) if block.language in {"sh", "console"})
    has_it = re.search(r"^(?:\$ )?nexmo-dispatch ", shells, re.MULTILINE)

    assert has_it is None or "nexmo-dispatch-async[cli]" in text or "](command.md" in text


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_a_command_that_is_pasted_has_no_remark(page: Path) -> None:
    """An interactive zsh takes `# …` behind a command as arguments; files such as `send.sh` may have it."""
    pasted = [block for block in blocks(page) if block.language in {"sh", "console"} and not block.title]

    remarks = [
        line for block in pasted for line in block.code.splitlines() if re.search(r"(?:^|\s)#\s", line)
    ]

    assert remarks == []
