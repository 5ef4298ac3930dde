"""Handlers with lazy annotations: a name that is there for type checkers only stops no registration."""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from nexmo_dispatch_webhooks import RouterError
from nexmo_dispatch_webhooks.testing import WebhookClient

FUTURE = "from __future__ import annotations\n"
#: Written as an application would write it; `Decimal` and `Path` are there for type checkers only.
APPLICATION = """
import functools
from typing import TYPE_CHECKING, Any

from nexmo_dispatch_webhooks import Answer, Context, InboundMessage, MessageStatus, Router

if TYPE_CHECKING:
    from decimal import Decimal
    from pathlib import Path

router = Router()
seen: list[str] = []


@router.message_status(when=lambda event: True)
async def by_name(event: MessageStatus, pool: Decimal) -> Path:
    seen.append(f"by name {pool}")


@router.register(kind="message-status")
async def by_annotation(status: MessageStatus, where: Context, pool: Decimal | None, more: Path = 1) -> None:
    seen.append(f"by annotation {where.path}")


class Handler:
    async def method(self, event: MessageStatus | InboundMessage, pool: list[Decimal]) -> Decimal:
        seen.append("method")

    __call__ = method


router.add(Handler().method, kind="message-status")
router.add(Handler(), kind="message-status")
router.add(functools.partial(Handler().method, pool=1), name="partial", kind="message-status")


def kept(function: Any) -> Any:
    @functools.wraps(function)
    async def wrapped(*args: Decimal, **kwargs: Path) -> Decimal:
        return await function(*args, **kwargs)

    return wrapped


@router.message_status(status="read")
@kept
async def wrapped(event: MessageStatus, pool: Decimal) -> Decimal:
    seen.append("wrapped")


def wanted(event: Decimal) -> Path:
    return True


@router.message_status(when=wanted)
async def filtered(event: MessageStatus) -> Decimal:
    seen.append("filtered")


@router.middleware
async def around(event: Decimal, context: Path, call_next: Decimal) -> Path:
    return await call_next(event)


@router.outer_middleware
async def outside(request: Decimal, call_next: Path) -> Answer:
    return await call_next(request)


@router.fallback
async def rest(event: Decimal) -> Path:
    seen.append("rest")


async def without_value(event: MessageStatus, missing: Decimal) -> None: ...
"""

EAGER = pytest.mark.skipif(
    sys.version_info < (3, 14), reason="without the future import such a module needs Python 3.14"
)


@pytest.fixture(params=[FUTURE, pytest.param("", marks=EAGER)], ids=["future import", "lazy"])
def application(request: pytest.FixtureRequest, tmp_path: Path) -> ModuleType:
    """The module above, imported from a file."""
    path = tmp_path / "application.py"
    path.write_text(request.param + APPLICATION, "utf-8")
    spec = importlib.util.spec_from_file_location("lazily_annotated_application", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


async def test_what_only_type_checkers_import_stops_no_registration_and_no_call(application: Any) -> None:
    """Handlers, filters and middleware of every form are registered, started and called."""
    async with WebhookClient(application.router, values={"pool": 5}) as client:
        assert (await client.post_status("read", path="p")).status == 200
        assert (await client.post_report()).status == 200

    assert application.seen == [
        *("by name 5", "by annotation p", "method", "method", "method", "wrapped", "filtered"),
        *("rest",),
    ]


async def test_the_error_still_says_which_annotation_cannot_be_read(application: Any) -> None:
    """As on older versions of Python: which parameter, and what to do."""
    application.router.add(application.without_value)

    with pytest.raises(RouterError, match=r"wants 'missing', which .*cannot be read .*`if TYPE_CHECKING`"):
        await WebhookClient(application.router, values={"pool": 5}).post_status()
