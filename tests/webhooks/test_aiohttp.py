"""What is particular to aiohttp: `setup` on an application; what all adapters share is in `test_adapters`."""

import socket
from typing import Any, cast

import pytest
from aiohttp import ClientSession, web

from nexmo_dispatch_webhooks import ConfigurationError, Router
from nexmo_dispatch_webhooks.aiohttp import RECEIVERS, setup
from tests.webhooks.adapters import BODY, JSON, SECRET, send_raw, serve_aiohttp


def test_missing_verification_is_a_loud_error() -> None:
    """Before anything is mounted."""
    app = web.Application()

    with pytest.raises(ConfigurationError, match="say how callbacks are verified"):
        setup(app, Router())

    assert len(app.router.routes()) == 0


def test_one_receiver_for_one_path() -> None:
    app = web.Application()
    receiver = setup(app, Router(), secrets={"k": SECRET})
    other = setup(app, Router(), "/other", verification=None)

    assert app[RECEIVERS] == {"/webhooks": receiver, "/other": other}
    with pytest.raises(ConfigurationError, match="mounted at /webhooks already"):
        setup(app, Router(), "/webhooks/", verification=None)
    assert setup(app, Router(), "/", verification=None) is app[RECEIVERS]["/"]
    with pytest.raises(ConfigurationError, match="path must start with /"):
        setup(app, Router(), "hooks", verification=None)


def test_arguments_in_the_wrong_place_are_named() -> None:
    app: Any = web.Application()
    router: Any = Router()

    with pytest.raises(
        ConfigurationError, match=r"app must be of type Application, not Router: setup\(app, "
    ):
        setup(router, app, verification=None)
    with pytest.raises(ConfigurationError, match="router must be of type Router, not NoneType"):
        setup(app, cast("Any", None), verification=None)
    with pytest.raises(ConfigurationError, match="max_body must be a whole number, at least 1, not 0"):
        setup(app, router, verification=None, max_body=0)
    assert setup(app, router, verification=None) is app[RECEIVERS]["/webhooks"], "nothing of it is left"


@pytest.mark.parametrize("path", ["/webhooks", "/webhooks/x", "/tenant/hooks", "/tenant/hooks/x", "/health"])
@pytest.mark.parametrize("expectation", [b"\xff", b"teapot"])
async def test_an_unknown_expectation_is_417(
    path: str, expectation: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    """The log quotes no body and has no traceback: any client can trigger it at will."""
    app = web.Application()
    setup(app, Router(), verification=None, health_path="/health")
    setup(app, Router(), "/{tenant}/hooks", verification=None)
    port, stop = await serve_aiohttp(app)
    method = "GET" if path == "/health" else "POST"
    head = f"{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 2\r\n"

    answer = await send_raw(port, head.encode() + b"Expect: " + expectation + b"\r\n\r\n{}")
    old = await send_raw(
        port, head.replace("1.1", "1.0").encode() + b"Expect: " + expectation + b"\r\n\r\n{}"
    )
    await stop()

    assert answer.startswith(b"HTTP/1.1 417 ")
    assert expectation not in answer
    assert old.startswith(b"HTTP/1.0 200 "), "HTTP/1.0 knows no expectations (RFC 9110, 10.1.1)"
    assert "Traceback" not in caplog.text


@pytest.mark.parametrize(
    "rest",
    [
        b"Expect: 100-continue\r\nContent-Length: 5\r\n\r\n",
        b"Content-Encoding: gzip\r\nContent-Length: 5\r\n\r\nabcde",
    ],
    ids=["before the body", "after a broken body"],
)
async def test_a_client_that_hangs_up_before_its_answer_is_no_news(
    rest: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    """Any client could fill the log with tracebacks and its address, whatever is to be written to it."""
    app = web.Application()
    setup(app, Router(), verification=None)
    port, stop = await serve_aiohttp(app)

    with socket.create_connection(("127.0.0.1", port)) as client:
        client.sendall(b"POST /webhooks HTTP/1.1\r\nHost: x\r\n" + rest)
    async with (
        ClientSession() as session,
        session.post(f"http://127.0.0.1:{port}/webhooks", data=BODY, headers=JSON) as answer,
    ):
        status = answer.status
    await stop()

    assert status == 200, "the receiver has come to a later request"
    assert [record.name for record in caplog.records if record.name != "nexmo_dispatch_webhooks"] == []


async def test_sub_application() -> None:
    """Mounted below another application, paths add up."""
    inner = web.Application()
    receiver = setup(inner, Router(), "/hooks", verification=None)
    app = web.Application()
    app.add_subapp("/api", inner)
    port, stop = await serve_aiohttp(app)

    async with (
        ClientSession() as session,
        session.post(f"http://127.0.0.1:{port}/api/hooks/x", data=BODY, headers=JSON) as answer,
    ):
        status = answer.status
    await stop()

    assert status == 200
    assert receiver.statistics().unhandled == 1
