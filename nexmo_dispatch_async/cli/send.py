"""`nexmo-dispatch send`: check a workflow file and send it once."""

import sys
from collections.abc import Mapping
from pathlib import Path

import anyio

from nexmo_dispatch_async.cli.screen import show, show_json
from nexmo_dispatch_async.client import DispatchClient
from nexmo_dispatch_async.exceptions import DispatchError, InvalidWorkflowError, OutcomeUnknownError
from nexmo_dispatch_async.workflow import Workflow

SENT, NOT_SENT, UNKNOWN = 0, 1, 3


async def run(file: Path, check: bool, extra: bool = False, json: bool = False) -> int:
    """Send the workflow in a file, or only check it; return the exit code of the command."""
    try:
        body = await anyio.to_thread.run_sync(read_workflow, file)
        workflow = Workflow.from_json(body, extra=extra)
        for finding in workflow.lint():
            if finding.severity == "warning":
                show(f"warning: {finding}", error=True)
        workflow.check()
        if check:
            _print({"outcome": "not_sent", "errors": 0}, "no errors; nothing was sent", json=json)
            return SENT
        async with DispatchClient.from_env(trust_env=True) as client:
            dispatch = await client.send(workflow)
    except OutcomeUnknownError as error:
        _fail("unknown", error, json=json)
        return UNKNOWN
    except DispatchError as error:
        _fail("not_sent", error, json=json)
        return NOT_SENT
    except OSError as error:  # last: some exceptions above are also OSErrors
        show(f"cannot read {file}: {error.strerror}", error=True)
        return NOT_SENT
    uuid = dispatch.dispatch_uuid
    _print({"outcome": "sent", "dispatch_uuid": uuid, "client_refs": dispatch.client_refs}, uuid, json=json)
    return SENT


def _print(value: Mapping[str, object], text: str, *, json: bool) -> None:
    if json:
        show_json(value)
    else:
        show(text)


def _fail(outcome: str, error: DispatchError, *, json: bool) -> None:
    """Print an error to standard error, and its outcome as JSON to standard output."""
    if json:
        findings = error.findings if isinstance(error, InvalidWorkflowError) else ()
        show_json({"outcome": outcome, "error": type(error).__name__, "findings": findings})
    show(f"{outcome.replace('_', ' ')}: {error}", error=True)


def read_workflow(file: Path) -> bytes:
    """Return the content of a file, or of standard input for `-`.

    Raises:
        OSError: The file cannot be read.
    """
    return sys.stdin.buffer.read() if str(file) == "-" else file.read_bytes()
