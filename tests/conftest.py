"""Fixtures that many test modules share."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from aioresponses import aioresponses

from nexmo_dispatch_async.workflow import Workflow
from tests.support.aioresponses_fix import patched
from tests.support.tls import make_certificate

PAYLOADS = Path(__file__).parent / "data" / "payloads"


@pytest.fixture(scope="session")
def workflow() -> Workflow:
    """Return a workflow without faults: WhatsApp, then SMS."""
    return Workflow.from_json((PAYLOADS / "requests" / "whatsapp_text.json").read_bytes())


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a certificate for localhost with its key, made for this run."""
    return make_certificate(tmp_path_factory.mktemp("tls") / "localhost.pem")


@pytest.fixture
def mocked() -> Iterator[aioresponses]:
    """Yield aioresponses that works with the installed aiohttp: answers without a socket."""
    with patched(), aioresponses() as mock:
        yield mock


def payload(name: str) -> Any:
    """Return the JSON of an example file of the contract."""
    return json.loads((PAYLOADS / name).read_bytes())
