"""Build wheel and sdist, look inside, and use the wheel in an empty environment. Run by `make wheel`.

With a folder as argument the two stay there, and the use is left to `check_installed.py`: `make dist`.
"""

import os
import re
import subprocess
import sys
import tarfile
import tempfile
import tomllib
import venv
import zipfile
from pathlib import Path

from tests.support.distributions import metadata_problems, sdist_problems, tracked_files, wheel_problems
from tests.support.paths import ROOT

PROBE = """
import importlib.metadata, nexmo_dispatch_async, nexmo_dispatch_webhooks
from nexmo_dispatch_async import DispatchClient, KpnOAuth, Workflow, messenger, mms, sms, viber, whatsapp
from nexmo_dispatch_async.simulator import Simulator
from nexmo_dispatch_webhooks.aiohttp import setup
assert nexmo_dispatch_async.__version__ == importlib.metadata.version("nexmo-dispatch-async")
print("imported", nexmo_dispatch_async.__version__)
"""
# Runs a file without a network: only loopback may be called, and no name may be looked up.
OFFLINE = """
import runpy, sys

def guard(event, args):
    if event == "socket.getaddrinfo" and args[0] not in (None, "localhost", "127.0.0.1", "::1"):
        raise OSError(f"looks up {args[0]}")
    if event == "socket.connect" and isinstance(args[1], tuple) and args[1][0] not in ("127.0.0.1", "::1"):
        raise OSError(f"connects to {args[1][0]}")

sys.addaudithook(guard)
runpy.run_path(sys.argv[1], run_name="__main__")
"""
PLUGIN_TEST = """
from nexmo_dispatch_async import Workflow, sms
from nexmo_dispatch_async.simulator.assertions import assert_outcome


async def test_with_fixtures(dispatch_simulator, dispatch_client):
    workflow = Workflow.failover(sms.text("Hi", from_="31647356950", to="999000000001"))
    dispatch = await dispatch_client.send(workflow)
    await dispatch_simulator.advance(5)
    assert_outcome(dispatch_simulator, "completed", dispatch)
"""


def ten_lines() -> str:
    """Return the README's test."""
    readme = (ROOT / "README.md").read_text("utf-8")
    block = re.search(r"^## Test your failover.*?^```python\n(.*?)^```", readme, re.DOTALL | re.MULTILINE)
    if block is None:
        sys.exit("the README has no section «Test your failover» with a block of Python")
    return block[1]


def run(*command: str, cwd: Path, **extra: str) -> str:
    environment = {k: v for k, v in os.environ.items() if k not in {"PYTHONPATH", "VIRTUAL_ENV"}} | extra
    done = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{' '.join(command)} ended with {done.returncode}\n{done.stdout}\n{done.stderr}")
    return done.stdout


def build(room: Path) -> tuple[Path, Path, int]:
    """Build both into a folder, and hold what they contain against the repository."""
    run(sys.executable, "-m", "build", "--outdir", str(room), str(ROOT), cwd=room)
    (wheel,) = room.glob("*.whl")
    (sdist,) = room.glob("*.tar.gz")
    tracked = tracked_files(ROOT)
    with zipfile.ZipFile(wheel) as archive:
        names = [name for name in archive.namelist() if not name.endswith("/")]
        (metadata,) = (name for name in names if name.endswith(".dist-info/METADATA"))
        text = archive.read(metadata).decode()
    with tarfile.open(sdist) as packed:
        members = [member.name for member in packed.getmembers() if member.isfile()]
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    problems = [
        *wheel_problems(names, tracked),
        *sdist_problems(members, tracked),
        *metadata_problems(text, project),
    ]
    if problems:
        sys.exit("\n".join([*problems, "a new file counts once it is added with git"]))
    print(f"{wheel.name}: {len(names)} files; {sdist.name}: {len(members)} files; as the repository has them")
    return wheel, sdist, len(names)


def main() -> None:
    if len(sys.argv) > 1:
        build(Path(sys.argv[1]).resolve())
        return
    with tempfile.TemporaryDirectory() as folder:
        room = Path(folder)
        wheel, sdist, count = build(room)

        venv.create(room / "empty", with_pip=True)
        python = room / "empty" / "bin" / "python"
        quiet = ("--quiet", "--disable-pip-version-check")
        run(str(python), "-m", "pip", "install", *quiet, str(wheel), cwd=room)
        imported = run(str(python), "-I", "-c", PROBE, cwd=room).strip()
        hint = subprocess.run(
            [room / "empty" / "bin" / "nexmo-dispatch", "demo"],
            capture_output=True,
            text=True,
            check=False,
            cwd=room,
        )
        if hint.returncode != 1 or "nexmo-dispatch-async[cli]" not in hint.stderr:
            sys.exit(f"without the cli extra the command must say what to install, it said: {hint.stderr}")

        project = room / "project"
        project.mkdir()
        (project / "test_failover.py").write_text(ten_lines(), "utf-8")
        run(str(python), "-I", "-c", OFFLINE, "test_failover.py", cwd=project)

        run(str(python), "-m", "pip", "install", *quiet, "pytest", "pytest-asyncio", cwd=room)
        (project / "test_plugin.py").write_text(PLUGIN_TEST, "utf-8")
        options = "-q -W error -o asyncio_mode=auto -o asyncio_default_fixture_loop_scope=function"
        told = run(
            str(python), "-Im", "pytest", *options.split(), "test_failover.py", "test_plugin.py", cwd=project
        )
        if "2 passed" not in told:
            sys.exit(f"two tests were to pass:\n{told}")
        print(f"{wheel.name} and {sdist.name}: {count} files, {imported}")


if __name__ == "__main__":
    main()
