"""`nexmo-dispatch trigger`: make up one callback and post it to a receiver, as the service does."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from secrets import token_urlsafe
from typing import Any, Final, cast

import aiohttp
import anyio

from nexmo_dispatch_async.cli.options import SECRETS
from nexmo_dispatch_async.cli.replay import no_answer
from nexmo_dispatch_async.cli.screen import show, show_json
from nexmo_dispatch_async.cli.trigger_options import Kind, TriggerOptions
from nexmo_dispatch_async.exceptions import ConfigurationError
from nexmo_dispatch_async.urls import plain_host
from nexmo_dispatch_core.vocabulary import BUILDER_NAMES, CHANNEL_NAMES
from nexmo_dispatch_webhooks.receiver import UNSET
from nexmo_dispatch_webhooks.signature import Secret
from nexmo_dispatch_webhooks.testing import WebhookClient, inbound_body, report_body, status_body

__all__ = ["body_of", "run"]

_REPORTS: Final = (Kind.COMPLETED, Kind.ERROR)


async def run(to: str, secrets: Mapping[str, Secret], options: TriggerOptions) -> int:
    """Post the callback and print the response; return 0 only if it is 2xx."""
    try:
        body = body_of(options, await anyio.to_thread.run_sync(_members, options.body))
    except ConfigurationError as error:
        show(str(error), error=True)
        return 1
    if host := plain_host(to):
        show(f"note: the callback is sent unencrypted to {host}", error=True)
    how, signed_with = ("signed", secrets) if secrets else ("unsigned", None)
    if not (secrets or options.unsigned or options.wrong_signature):
        show(f"note: {SECRETS} is not set: the callback is unsigned", error=True)
    if options.wrong_signature:
        how, signed_with = "wrongly signed", {next(iter(secrets), "a1b2c3d4"): token_urlsafe()}
    async with WebhookClient(to, secrets=signed_with) as client:
        try:
            answer = await client.post(body)
        except (aiohttp.ClientError, TimeoutError) as error:
            show(f"no answer: {no_answer(error)}", error=True)
            return 1
    if options.json:
        show_json({"status": answer.status, "signed": how == "signed", "body": body})
    else:
        words = " ".join(answer.text.split())[:80]
        show(f"{options.kind}, {how}: {answer.status}{f' ({words})' if words else ''}")
        show(_consequence(answer.status) or json.dumps(body, indent=2), lines=True)
    return 0 if 200 <= answer.status < 300 else 1


def _consequence(status: int) -> str:
    """Return what the service does after an answer that is no success (contract 5.10), else `""`."""
    if 200 <= status < 300:
        return ""
    if status == 429 or status >= 500:
        return "the service repeats such a callback for 24 hours, then it is lost"
    if 300 <= status < 400:
        return "the service follows no redirect: such a callback is lost"
    return "the service does not repeat such a callback: it is lost"


def body_of(options: TriggerOptions, members: Mapping[str, Any]) -> dict[str, Any]:
    """Return the body of the callback.

    Args:
        options: What was given.
        members: Members in the place of those that are made up.

    Raises:
        ConfigurationError: An option does not belong to the kind, or the channel is unknown.
    """
    kind = options.kind
    _check(options)
    channel = BUILDER_NAMES.get(options.channel, options.channel)
    now = datetime.now(UTC)
    if kind is Kind.INBOUND:
        body = inbound_body(
            options.text,
            channel=channel or "whatsapp",
            message_uuid=options.message_uuid,
            from_=options.sender,
            to=options.recipient,
            timestamp=now,
        )
    elif kind in _REPORTS:
        reached = "delivered" if kind is Kind.COMPLETED else "undeliverable"
        messages = [(channel, reached)] if channel else None
        uuid = options.dispatch_uuid
        body = report_body(kind.value, dispatch_uuid=uuid, messages=messages, timestamp=now)
    else:
        body = status_body(
            kind.value,
            channel=channel or None,
            message_uuid=options.message_uuid,
            to=options.recipient,
            from_=options.sender,
            client_ref=options.client_ref,
            timestamp=now,
            error=UNSET if options.error is None else options.error,
            dispatch_uuid=UNSET if options.dispatch_uuid is None else options.dispatch_uuid,
        )
    return {**body, **members}


def _check(options: TriggerOptions) -> None:
    """Refuse an option that would have no effect, so that a slip is not mistaken for a result."""
    if options.channel and options.channel not in {*BUILDER_NAMES, *CHANNEL_NAMES}:
        raise ConfigurationError(
            f"--channel must be one of {', '.join(sorted({*BUILDER_NAMES, *_CHANNELS}))}"
        )
    if options.kind is Kind.READ and options.channel in ("sms", "mms"):
        raise ConfigurationError(
            f"--channel: no {options.channel} is ever read; give whatsapp, viber or messenger"
        )
    kind, inbound, report = options.kind, options.kind is Kind.INBOUND, options.kind in _REPORTS
    for name, value, allowed in (
        ("--text", options.text, inbound),
        ("--client-ref", options.client_ref, not inbound and not report),
        ("--error", options.error, kind in (Kind.REJECTED, Kind.UNDELIVERABLE)),
        ("--message-uuid", options.message_uuid, not report),
        ("--dispatch-uuid", options.dispatch_uuid, not inbound),
        ("--from", options.sender, not report),
        ("--recipient", options.recipient, not report),
    ):
        if value is not None and not allowed:
            raise ConfigurationError(
                f"{name} has no place in a callback of the kind {kind.value}; leave it out"
            )


_CHANNELS: Final = ("sms", "mms", "whatsapp", "messenger")


def _members(file: Path | None) -> dict[str, Any]:
    if file is None:
        return {}
    try:
        members: object = json.loads(file.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not JSON"
        raise ConfigurationError(f"cannot use {file}: {reason}") from None
    if not isinstance(members, dict):
        raise ConfigurationError(f"cannot use {file}: it must hold an object")
    return cast("dict[str, Any]", members)
