"""Checks the steps of a workflow against the rules and reports every breach.

Builders accept anything, so each check takes `object` and first looks at the type: whatever a step holds, the
outcome is a list of findings. Messages never repeat what a field holds, since that may be personal.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import cast

from msgspec import UNSET, Struct

from nexmo_dispatch_async.models.findings import Finding
from nexmo_dispatch_async.models.requests import Message, Step
from nexmo_dispatch_async.rules.addresses import account, check_route
from nexmo_dispatch_async.rules.contents import check_content
from nexmo_dispatch_async.rules.extras import check_extra, check_members
from nexmo_dispatch_async.rules.options import check_failover, check_options
from nexmo_dispatch_async.rules.report import Report, length, text
from nexmo_dispatch_async.rules.settings import Rules
from nexmo_dispatch_async.rules.specs import SPECS
from nexmo_dispatch_async.rules.windows import check_windows

__all__ = ["find", "find_accounts"]


def find(
    steps: object, rules: Rules, *, extra: Mapping[str, object] | None = None, errors_only: bool = False
) -> list[Finding]:
    """Return all findings for the steps of a workflow and for its `extra` members."""
    report = Report(rules, errors_only=errors_only)
    if not isinstance(steps, tuple | list):
        one = isinstance(steps, Step)
        written = "Workflow.failover(step)" if one else "Workflow.failover(first, second)"
        report.add("type", "workflow", f"must be the steps as a tuple; write {written}")
        return report.findings
    items = cast("tuple[object, ...]", steps)
    if extra:
        check_members(report, extra)
    count = len(items)
    if not count:
        report.add("steps", "", "has no step; add at least one")
    elif count == 1:
        report.add(
            "single-step", "", "has one step, so there is nothing to fail over to; add a step, say an SMS"
        )
    for number, step in enumerate(items, 1):
        report.step = number
        _check_step(report, step, last=number == count)
    if report.wants("care-window"):
        check_windows(report, items, rules.window)
    if report.wants("one-account"):
        report.findings += find_accounts(items, rules)
    return report.findings


def find_accounts(steps: Iterable[object], rules: Rules) -> list[Finding]:
    """Return a finding for each platform with several sender ids (contract 4.4, 7.5)."""
    report = Report(rules)
    accounts: dict[str, set[str]] = {}
    for step in steps:
        if isinstance(step, Step) and (sender := account(step)) is not None:
            accounts.setdefault(sender[0], set()).add(sender[1])
    for channel, senders in accounts.items():
        if len(senders) > 1:
            name = SPECS[channel].name
            advice = f"uses {len(senders)} {name} senders; an application has one {name} account, so use one"
            report.add("one-account", "", advice)
    return report.findings


def _check_step(report: Report, step: object, *, last: bool) -> None:
    if not isinstance(step, Step):
        report.add("type", "", _instead_of(step))
        return
    if _carries_extra(step):
        check_extra(report, step)
    spec = check_route(report, step.from_, step.to)
    message: object = step.message
    if type(message) is Message:
        check_content(report, message.content, message, spec)
        check_options(report, message, spec)
    else:
        report.add("type", "message", "must be a Message")
    if step.failover is not UNSET:
        if last:
            report.add("failover-last", "failover", "must not be on the last step; leave out .until(...)")
        check_failover(report, step.failover, message, spec)
    elif not last:
        report.add("failover-missing", "failover", 'is missing; add .until("delivered", within=600)')
    if step.client_ref is not UNSET:
        ref = text(report, "client_ref", step.client_ref)
        if ref is not None and length(report, ref) > 40:
            report.add("client-ref-length", "client_ref", "has more than 40 characters; shorten it")


def _instead_of(step: object) -> str:
    """Return what to write instead of something that is no step."""
    if isinstance(step, list | tuple):
        return f"is a {type(cast('object', step)).__name__}; write Workflow.failover(*steps), with the star"
    if hasattr(step, "steps"):
        return "is a workflow; write Workflow.failover(*workflow.steps), with the star"
    if isinstance(step, dict):
        return "is a dict; write Step.from_json(…) of its JSON, or build it with sms.text(...) and so on"
    return "must be a Step; build it with sms.text(...), whatsapp.text(...) and so on"


def _carries_extra(step: Step) -> bool:
    """Return whether a part of a step has `extra`."""
    message: object = step.message
    parts: list[object] = [step, step.from_, step.to, step.failover, message]
    if type(message) is Message:
        content = cast("object", message.content)
        parts += (content, message.viber_service_msg, message.messenger, message.whatsapp)
        if isinstance(content, Struct):
            body: object = getattr(content, content.__struct_fields__[0], UNSET)
            parts.append(body)
            parameters: object = getattr(body, "parameters", UNSET)
            if isinstance(parameters, tuple | list):
                parts += cast("Sequence[object]", parameters)
    return any(getattr(part, "extra", UNSET) is not UNSET for part in parts)
