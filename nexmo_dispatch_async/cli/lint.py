"""`nexmo-dispatch lint`: check a workflow file against the rules; it needs neither network nor account."""

from __future__ import annotations

from pathlib import Path

import anyio
import msgspec

from nexmo_dispatch_async.cli.screen import show, show_json
from nexmo_dispatch_async.cli.send import read_workflow
from nexmo_dispatch_async.exceptions import ConfigurationError, InvalidWorkflowError
from nexmo_dispatch_async.models.findings import Finding
from nexmo_dispatch_async.rules import Rules
from nexmo_dispatch_async.workflow import Workflow

__all__ = ["LintOptions", "run"]

CLEAN, FAULTY = 0, 1


class LintOptions(msgspec.Struct, frozen=True, kw_only=True):
    """The options of the command; see its help."""

    on: tuple[str, ...] = ()
    off: tuple[str, ...] = ()
    strict: bool = False
    extra: bool = False
    json: bool = False


async def run(file: Path, options: LintOptions) -> int:
    """Print the findings about a workflow; return 1 if one of them is an error."""
    try:
        rules = Rules(on=options.on, off=options.off)
        body = await anyio.to_thread.run_sync(read_workflow, file)
        findings = _findings(body, rules, extra=options.extra)
    except ConfigurationError as error:
        show(str(error), error=True)
        return FAULTY
    except OSError as error:
        show(f"cannot read {file}: {error.strerror}", error=True)
        return FAULTY
    errors = sum(finding.severity == "error" for finding in findings)
    warnings = len(findings) - errors
    if options.json:
        show_json({"errors": errors, "warnings": warnings, "findings": findings})
    else:
        shown = {""}
        for finding in findings:
            show(f"{finding.severity}: {finding}")
            if finding.url not in shown:
                show(f"  {finding.url}")
            shown.add(finding.url)
        show(f"{_count(errors, 'error')}, {_count(warnings, 'warning')}")
    return FAULTY if errors or (options.strict and warnings) else CLEAN


def _findings(body: bytes, rules: Rules, *, extra: bool) -> tuple[Finding, ...]:
    try:
        return tuple(Workflow.from_json(body, extra=extra).lint(rules))
    except InvalidWorkflowError as error:  # the structure is wrong, so the rules cannot be applied
        return error.findings


def _count(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"
