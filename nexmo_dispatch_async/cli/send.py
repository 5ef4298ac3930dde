"""`nexmo-dispatch send`: check a workflow file and send it once."""

import sys
from pathlib import Path

import anyio

from nexmo_dispatch_async.cli.screen import show
from nexmo_dispatch_async.client import DispatchClient
from nexmo_dispatch_async.exceptions import DispatchError, OutcomeUnknownError
from nexmo_dispatch_async.workflow import Workflow

SENT, NOT_SENT, UNKNOWN = 0, 1, 3


async def run(file: Path, check: bool, extra: bool = False) -> int:
    """Send the workflow in a file, or only check it; return the exit code of the command."""
    try:
        body = await anyio.to_thread.run_sync(_read, file)
        workflow = Workflow.from_json(body, extra=extra)
        for finding in workflow.lint():
            if finding.severity == "warning":
                show(f"warning: {finding}", error=True)
        workflow.check()
        if check:
            show("no errors; nothing was sent")
            return SENT
        async with DispatchClient.from_env(trust_env=True) as client:
            dispatch = await client.send(workflow)
    except OutcomeUnknownError as error:
        show(f"unknown: {error}", error=True)
        return UNKNOWN
    except DispatchError as error:
        show(f"not sent: {error}", error=True)
        return NOT_SENT
    except OSError as error:  # last: some exceptions above are also OSErrors
        show(f"cannot read {file}: {error.strerror}", error=True)
        return NOT_SENT
    show(dispatch.dispatch_uuid)
    return SENT


def _read(file: Path) -> bytes:
    return sys.stdin.buffer.read() if str(file) == "-" else file.read_bytes()
