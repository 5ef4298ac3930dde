"""The pages that let a row decide about a paid message: a key that is there is never taken for a new one.

SQLite counts the rows of the last statement of a connection, whichever thread ran it.
"""

import asyncio
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

from tests.support.pages import blocks
from tests.support.paths import ROOT

ROUNDS = 400


def names_of(page: str, program: str) -> dict[str, Any]:
    """Run a program of a page, and return what it defines."""
    (code,) = [block.code for block in blocks(ROOT / "docs" / page) if block.title == program]
    names: dict[str, Any] = {"__name__": program}
    exec(compile(code, program, "exec", dont_inherit=True), names)  # noqa: S102 - the page's own code
    return names


async def answers_beside(
    ask: Callable[[], Coroutine[Any, Any, object]], change: Callable[[], Coroutine[Any, Any, object]]
) -> list[object]:
    """Ask again and again while another row changes, as callbacks change it."""
    answers: list[object] = []
    for _ in range(ROUNDS):
        answers += (await asyncio.gather(ask(), change(), change(), change()))[:1]
    return answers


async def test_an_answer_is_begun_once_while_others_are_settled(tmp_path: Path) -> None:
    answers = names_of("reply_once.md", "answers.py")["Answers"](str(tmp_path / "a.db"))
    try:
        assert await answers.begin("one")
        assert await answers.begin("other")

        begun = await answers_beside(lambda: answers.begin("one"), lambda: answers.settle("other", "sent"))
    finally:
        answers.close()

    assert begun == [False] * ROUNDS


async def test_a_notice_is_sent_once_while_callbacks_are_noted(tmp_path: Path) -> None:
    """The client is none: a second send would be an AttributeError."""
    with names_of("one_lifespan.md", "shop.py")["Sends"](str(tmp_path / "a.db"), None) as sends:
        for key in ("order-18", "order-17"):
            await sends._run("INSERT INTO send (key) VALUES (?)", key)

        sent = await answers_beside(
            lambda: sends.once("order-18", None), lambda: sends.sent("order-17", "a dispatch_uuid")
        )

    assert sent == [None] * ROUNDS
