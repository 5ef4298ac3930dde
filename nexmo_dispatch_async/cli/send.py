"""`nexmo-dispatch send`: check a workflow file and send it once."""

import sys
from pathlib import Path

import anyio
from rich.console import Console

from nexmo_dispatch_async.client import DispatchClient
from nexmo_dispatch_async.exceptions import DispatchError, OutcomeUnknownError
from nexmo_dispatch_async.workflow import Workflow

SENT, NOT_SENT, UNKNOWN = 0, 1, 3


async def run(file: Path, check: bool) -> int:
    """Send the workflow in a file, or only check it; return the exit code of the command."""
    out = Console(highlight=False, soft_wrap=True)
    err = Console(highlight=False, soft_wrap=True, stderr=True)
    try:
        body = await anyio.to_thread.run_sync(_read, file)
        workflow = Workflow.from_json(body)
        for finding in workflow.lint():
            if finding.severity == "warning":
                err.print(f"warning: {finding}", markup=False)
        workflow.check()
        if check:
            out.print("no errors; nothing was sent")
            return SENT
        async with DispatchClient.from_env() as client:
            dispatch = await client.send(workflow)
    except OutcomeUnknownError as error:
        err.print(f"unknown: {error}", markup=False)
        return UNKNOWN
    except DispatchError as error:
        err.print(f"not sent: {error}", markup=False)
        return NOT_SENT
    except OSError as error:  # last, since some of the above are OSErrors too
        err.print(f"cannot read {file}: {error.strerror}", markup=False)
        return NOT_SENT
    out.print(dispatch.dispatch_uuid, markup=False)
    return SENT


def _read(file: Path) -> bytes:
    return sys.stdin.buffer.read() if str(file) == "-" else file.read_bytes()
