"""The READMEs of the project and of the receiver keep their promises."""

import sys
from pathlib import Path
from types import ModuleType

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from nexmo_dispatch_webhooks.aiohttp import RECEIVERS
from nexmo_dispatch_webhooks.testing import WebhookClient, inbound_body, report_body, status_body
from tests.support.pages import blocks
from tests.support.paths import ROOT


def block(page: Path, word: str) -> str:
    """Return the first block of Python with a word."""
    return next(each.code for each in blocks(page) if each.language == "python" and word in each.code)


def test_a_complete_receiver_takes_fewer_than_30_lines() -> None:
    """That it runs as printed is shown by tests/test_docs.py."""
    lines = block(ROOT / "webhooks" / "README.md", "").splitlines()

    assert len([line for line in lines if line.strip()]) < 30


async def test_the_receiver_of_the_first_page_takes_all_three_callbacks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The program as printed, but for its port, prints a line for each."""
    monkeypatch.chdir(tmp_path)  # its inbox
    module = ModuleType("page")
    monkeypatch.setitem(sys.modules, "page", module)
    exec(compile(block(ROOT / "README.md", "setup(app"), "README.md", "exec"), vars(module))  # noqa: S102 - ours
    app: web.Application = module.app

    async with TestServer(app) as server:
        url = str(server.make_url("/webhooks"))
        async with WebhookClient(url, secrets={"your api key": "your signature secret"}) as service:
            for body in (status_body("read", channel="whatsapp"), inbound_body(), report_body()):
                assert (await service.post(body)).status == 200
        await app[RECEIVERS]["/webhooks"].idle()

    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == ["read", "a", "completed"]
