"""The frameworks of docs/frameworks.md: each program is served, and posted to as the service does."""

import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from aiohttp import ClientSession

from nexmo_dispatch_webhooks import Answer, OuterCallNext, RawRequest, sign
from tests.test_docs import fences
from tests.webhooks.adapters import BODY, JSON, serve_asgi

PAGE = Path(__file__).parents[2] / "docs" / "frameworks.md"
APPLICATIONS = ["starlette_app", "fastapi_app", "litestar_app", "quart_app"]


@pytest.fixture
def page(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What the page defines, run from top to bottom."""
    module = ModuleType("page")  # frameworks look for the module of a handler, to read its annotations
    monkeypatch.setitem(sys.modules, "page", module)
    for _, code in fences(PAGE):
        exec(compile(code, str(PAGE), "exec", dont_inherit=True), vars(module))  # noqa: S102 - our own page
    return vars(module)


def test_every_application_of_the_page_is_served_here(page: dict[str, Any]) -> None:
    """A framework that is added to the page is run from then on."""
    assert [name for name in page if name.endswith("_app") and name != "asgi_app"] == APPLICATIONS


@pytest.mark.parametrize("name", APPLICATIONS)
async def test_mounted_as_documented_it_receives_and_leaves_the_other_routes_alone(
    name: str, page: dict[str, Any]
) -> None:
    """At its path and below, with and without a slash at the end; probes are answered, strangers are not."""
    port, stop = await serve_asgi(page[name])
    signed = {"Authorization": sign(BODY, secret="signature secret", api_key="a1b2c3d4", jti="j")} | JSON

    ours = ("/webhooks", "/webhooks/", "/webhooks/status", "/webhooks/a%20b/")
    posts, gets = {}, {}
    async with ClientSession(f"http://127.0.0.1:{port}") as session:
        for path in (*ours, "/webhooks-of-another"):
            async with session.post(path, data=BODY, headers=signed, allow_redirects=False) as answer:
                posts[path] = answer.status
        async with session.post("/webhooks", data=BODY, headers=JSON) as answer:
            posts["unsigned"] = answer.status
        for path in ("/hello", "/health", "/health/ready", "/webhooks", "/nothing"):
            async with session.get(path, allow_redirects=False) as answer:
                gets[path] = answer.status
    ready_while_serving = page["receiver"].receiver.is_open
    await stop()

    assert posts == {
        **dict.fromkeys(ours, 200),
        "/webhooks-of-another": 404,
        "unsigned": 503,
    }
    assert gets == {"/hello": 200, "/health": 200, "/health/ready": 200, "/webhooks": 405, "/nothing": 404}
    assert page["seen"] == ["delivered"] * 4
    assert (ready_while_serving, page["receiver"].receiver.is_open) == (True, False)


@pytest.mark.parametrize("name", APPLICATIONS)
async def test_handlers_see_one_path_whatever_the_framework_makes_of_it(
    name: str, page: dict[str, Any]
) -> None:
    """Some cut the mount off, one adds a slash: `context.path` is what was sent."""
    paths: list[str] = []
    answers: list[int] = []

    async def keep(request: RawRequest, call_next: OuterCallNext) -> Answer:
        paths.append(request.path)
        return await call_next(request)

    page["router"].outer_middleware(keep)
    port, stop = await serve_asgi(page[name])
    signed = {"Authorization": sign(BODY, secret="signature secret", api_key="a1b2c3d4", jti="j")} | JSON
    async with ClientSession(f"http://127.0.0.1:{port}") as session:
        for path in ("/webhooks", "/webhooks/status", "/webhooks/status/", "/webhooks/a%20b"):
            async with session.post(path, data=BODY, headers=signed) as answer:
                answers.append(answer.status)
    await stop()

    assert answers == [200] * 4
    assert paths == ["", "status", "status/", "a b"]
