"""Build the wheel, look inside, and import it in an empty environment. Run by `make wheel`."""

import os
import subprocess
import sys
import tempfile
import venv
import zipfile
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
PACKAGES = {"nexmo_dispatch_async", "nexmo_dispatch_webhooks"}
PROBE = """
import importlib.metadata, nexmo_dispatch_async, nexmo_dispatch_webhooks
from nexmo_dispatch_async import DispatchClient, KpnOAuth, Workflow, messenger, mms, sms, viber, whatsapp
from nexmo_dispatch_async.simulator import Simulator
from nexmo_dispatch_webhooks.aiohttp import setup
assert nexmo_dispatch_async.__version__ == importlib.metadata.version("nexmo-dispatch-async")
print("imported", nexmo_dispatch_async.__version__)
"""


def run(*command: str, cwd: Path, **extra: str) -> str:
    environment = {k: v for k, v in os.environ.items() if k not in {"PYTHONPATH", "VIRTUAL_ENV"}} | extra
    done = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{' '.join(command)} ended with {done.returncode}\n{done.stdout}\n{done.stderr}")
    return done.stdout


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        room = Path(folder)
        run(sys.executable, "-m", "build", "--outdir", str(room), str(ROOT), cwd=room)
        (wheel,) = room.glob("*.whl")
        (sdist,) = room.glob("*.tar.gz")
        names = zipfile.ZipFile(wheel).namelist()
        top = {name.split("/", 1)[0] for name in names if ".dist-info/" not in name}
        if top != PACKAGES:
            sys.exit(f"the wheel holds {sorted(top)}, not exactly {sorted(PACKAGES)}")
        missing = [package for package in PACKAGES if f"{package}/py.typed" not in names]
        if missing:
            sys.exit(f"no py.typed in {missing}")

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
        print(f"{wheel.name} and {sdist.name}: {len(names)} files, {imported}")


if __name__ == "__main__":
    main()
