"""Malformed requests take one line of log; everything else is logged as it was."""

import logging

import pytest
from aiohttp import web

from nexmo_dispatch_webhooks import Router
from nexmo_dispatch_webhooks.aiohttp import setup
from nexmo_dispatch_webhooks.aiohttp_log import MalformedRequestFilter
from tests.webhooks.adapters import send_raw, serve_aiohttp


@pytest.fixture(autouse=True)
def filtered(monkeypatch: pytest.MonkeyPatch) -> None:
    """The filter on aiohttp's own logger, alone: that of a page, if one has set it up, would count too."""
    monkeypatch.setattr(logging.getLogger("aiohttp.server"), "filters", [MalformedRequestFilter()])


async def fail(request: web.Request) -> web.Response:
    raise LookupError


async def fail_to_encode(request: web.Request) -> web.Response:
    return web.Response(text="\udcff")


async def test_other_records_pass() -> None:
    """Also those without an exception."""
    record = logging.LogRecord("aiohttp.server", logging.INFO, "", 0, "hello", None, None)

    assert MalformedRequestFilter().filter(record)
    assert (record.levelname, record.getMessage()) == ("INFO", "hello")


@pytest.mark.parametrize(
    "data",
    [b"GET / HTTP/9.9\r\n\r\n", b"GET / HTTP/1.1\r\nHost: x\r\nA\x00: b\r\n\r\n"],
    ids=["version", "header"],
)
async def test_one_line_without_address_and_traceback(data: bytes, caplog: pytest.LogCaptureFixture) -> None:
    """UnmatchedCallbacks cannot fill the log, nor does it keep their addresses."""
    port, stop = await serve_aiohttp(web.Application())

    answer = await send_raw(port, data)
    await stop()

    assert answer.startswith((b"HTTP/1.0 400 ", b"HTTP/1.1 400 "))
    (record,) = caplog.records
    assert record.levelname == "WARNING"
    assert record.getMessage().startswith("refused with 400: malformed HTTP (")
    assert "127.0.0.1" not in caplog.text
    assert "Traceback" not in caplog.text


async def test_a_flood_is_one_line(caplog: pytest.LogCaptureFixture) -> None:
    """Any client can post such things at will; the next line says how many there were."""
    port, stop = await serve_aiohttp(web.Application())

    for _ in range(20):
        await send_raw(port, b"GET / HTTP/9.9\r\n\r\n")
    await stop()

    assert len(caplog.records) == 1


@pytest.mark.parametrize("path", ["/elsewhere", "/webhooks"])
async def test_an_expectation_that_is_no_text_on_unknown_paths(
    path: str, caplog: pytest.LogCaptureFixture
) -> None:
    """There aiohttp answers by itself, also to another method on the path of the receiver."""
    app = web.Application()
    setup(app, Router(), verification=None)
    port, stop = await serve_aiohttp(app)

    await send_raw(
        port, f"PUT {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n".encode() + b"Expect: \xff\r\n\r\n"
    )
    await stop()

    assert [record.getMessage() for record in caplog.records] == [
        "refused with 500: malformed HTTP (UnicodeEncodeError)"
    ]
    assert "127.0.0.1" not in caplog.text
    assert "Traceback" not in caplog.text


async def test_failures_of_the_application_are_logged_in_full(caplog: pytest.LogCaptureFixture) -> None:
    """The filter is about framing only."""
    app = web.Application()
    app.router.add_get("/", fail)
    app.router.add_get("/encode", fail_to_encode)
    port, stop = await serve_aiohttp(app)

    for path in (b"/", b"/encode"):
        await send_raw(port, b"GET " + path + b" HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    await stop()

    assert "LookupError" in caplog.text
    assert "UnicodeEncodeError" in caplog.text
    assert {record.levelname for record in caplog.records} == {"ERROR"}
