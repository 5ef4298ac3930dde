"""Shell commands that run as they stand, with the simulator's credentials; a sample workflow."""

from __future__ import annotations

import json
import shlex
from typing import Any, Final
from urllib.parse import quote

import msgspec

from nexmo_dispatch_async.simulator.api.gateway import TOKEN_PATH
from nexmo_dispatch_async.simulator.api.service import BASE_PATH
from nexmo_dispatch_async.simulator.control.controlled import ControlledSimulator
from nexmo_dispatch_async.simulator.control.message_log import as_object
from nexmo_dispatch_async.simulator.engine import Run
from nexmo_dispatch_async.simulator.world.applications import SimulatedApplication

__all__ = ["as_curl", "as_request", "sample"]

#: the default person, who reads a message after ten seconds
_READER: Final = "999000000001"


def sample(application: SimulatedApplication) -> dict[str, Any]:
    """Return a workflow that the default settings accept: a template to a person who reads it, else an SMS.

    Args:
        application: The application; the sender is its WhatsApp account, if it has one (contract 7.5).
    """
    template = {
        "name": "whatsapp:hsm:technology:nexmo:verify",
        "parameters": [{"default": "Your Acme"}, {"default": "493201"}, {"default": "10"}],
    }
    first = {
        "from": {"type": "whatsapp", "number": application.accounts.get("whatsapp", "447700900800")},
        "to": {"type": "whatsapp", "number": _READER},
        "message": {
            "content": {"type": "template", "template": template},
            "whatsapp": {"policy": "deterministic", "locale": "en-GB"},
        },
        "client_ref": "sample",
        "failover": {"expiry_time": 600, "condition_status": "read"},
    }
    second = {
        "from": {"type": "sms", "number": "3197010299901"},
        "to": {"type": "sms", "number": _READER},
        "message": {"content": {"type": "text", "text": "Your Acme code: 493201. Valid for 10 minutes."}},
        "client_ref": "sample",
    }
    return {"template": "failover", "workflow": [first, second]}


def as_request(run: Run) -> dict[str, object]:
    """Return the body that a workflow was sent with."""
    return as_object(msgspec.json.decode(run.steps[0].body))


def as_curl(body: dict[str, object], *, application: str, origin: str, sim: ControlledSimulator) -> str:
    """Return the shell command that sends a workflow; it requests its own access token.

    Args:
        body: The workflow.
        application: The id of its application.
        origin: Scheme, host and port by which the caller reaches the simulator.
        sim: The simulator, whose credentials the command contains.
    """
    form = f"client_id={quote(sim.client_id)}&client_secret={quote(sim.client_secret)}"
    token_url = f"{origin}{TOKEN_PATH}?grant_type=client_credentials"
    token = (
        f"curl -s {shlex.quote(token_url)} -d {shlex.quote(form)}"
        """ | sed 's/.*"access_token":"\\([^"]*\\)".*/\\1/'"""
    )
    text = json.dumps(body, indent=2, ensure_ascii=False)
    return (
        f"curl {shlex.quote(origin + BASE_PATH + '/dispatch')} \\\n"
        f'  -H "Authorization: Bearer $({token})" \\\n'
        f"  -H {shlex.quote('ApplicationId: ' + application)} \\\n"
        "  -H 'Content-Type: application/json' \\\n"
        f"  --data-raw {shlex.quote(text)}\n"
    )
