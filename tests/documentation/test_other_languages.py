"""What docs/other_languages.md shows with curl and Node, run against `nexmo-dispatch simulate`."""

import asyncio
import os
import shutil
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp
import pytest

from nexmo_dispatch_async.simulator import Simulator
from nexmo_dispatch_webhooks import sign
from tests.support.commands import serving
from tests.support.pages import blocks
from tests.support.paths import ROOT

PAGE = ROOT / "docs" / "other_languages.md"
BOUND_S = 20


def needed(program: str) -> str:
    """Return the path of a program; skip the test without it."""
    found = shutil.which(program)
    if found is None:
        pytest.skip(f"{program} is not installed")
    return found


@pytest.fixture
def room(tmp_path: Path) -> Path:
    """A folder with the files of the page."""
    for block in blocks(PAGE):
        if block.title:
            (tmp_path / block.title).write_text(block.code, "utf-8")
    return tmp_path


@dataclass
class NodeReceiver:
    """The receiver of the page, and what it printed."""

    url: str
    printed: list[str] = field(default_factory=list[str])
    grown: asyncio.Event = field(default_factory=asyncio.Event)

    async def until(self, word: str, *, times: int) -> None:
        """Wait until a line was printed so often."""
        async with asyncio.timeout(BOUND_S):
            while self.printed.count(word) < times:
                self.grown.clear()
                await self.grown.wait()


@asynccontextmanager
async def receiving(room: Path, secrets: str) -> AsyncGenerator[NodeReceiver]:
    """Run `receive.mjs` on a free port."""
    environment = os.environ | {"NEXMO_DISPATCH_SIGNATURE_SECRETS": secrets, "PORT": "0"}
    process = await asyncio.create_subprocess_exec(
        needed("node"), "receive.mjs", cwd=room, env=environment, stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    async with asyncio.timeout(BOUND_S):
        port = (await process.stdout.readline()).decode().removeprefix("port ").strip()
    receiver = NodeReceiver(f"http://127.0.0.1:{port}/webhooks")

    async def read(stream: asyncio.StreamReader) -> None:
        async for line in stream:
            receiver.printed.append(line.decode().strip())
            receiver.grown.set()

    reading = asyncio.create_task(read(process.stdout))
    try:
        yield receiver
    finally:
        process.terminate()
        await process.wait()
        await reading


async def run(room: Path, environment: dict[str, str], *command: str) -> str:
    process = await asyncio.create_subprocess_exec(
        *command,
        cwd=room,
        env=os.environ | environment,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    async with asyncio.timeout(BOUND_S):
        printed, complaints = await process.communicate()
    assert process.returncode == 0, complaints.decode()
    return printed.decode()


@pytest.mark.timeout(90)
async def test_a_workflow_goes_out_with_curl_and_comes_back_to_node(room: Path) -> None:
    """Token, dispatch, the clock and verified callbacks, without a line of Python."""
    needed("curl")
    same = Simulator(seed=7)  # one seed, one account
    async with (
        receiving(room, f"{same.api_key}={same.signature_secret}") as receiver,
        serving("simulate", "--port", "0", "--seed", "7", "--callback-url", receiver.url) as command,
    ):
        settings: dict[str, str] = {}
        while "NEXMO_DISPATCH_APPLICATION_ID" not in settings:
            name, _, value = (await command.until("^export (.*)")).partition("=")
            settings[name] = value
        with_curl = await run(room, settings, "sh", "send.sh")
        with_node = await run(room, settings, needed("node"), "send.mjs")
        await run(room, settings, "sh", "clock.sh")
        await receiver.until("completed", times=2)

    assert '"dispatch_uuid"' in with_curl
    assert with_node.startswith("202 ")
    assert {"submitted", "delivered", "completed"} == set(receiver.printed)


@pytest.mark.timeout(60)
async def test_the_verification_of_the_page_refuses_what_ours_refuses(room: Path) -> None:
    """Only the signed bytes, by the account's own secret, in their time; a missing token comes again."""
    body = b'{"message_uuid": "m1", "status": "read"}'
    now = time.time()

    def token(secret: str = "signature-secret", age: float = 0.0, account: str = "a1b2c3d4") -> str:
        return sign(body, secret=secret, api_key=account, iat=int(now - age), jti="j1")

    head, claims, signature = token().removeprefix("Bearer ").split(".")
    unsigned = "eyJhbGciOiJub25lIn0"  # {"alg":"none"}
    cases = [
        (token(), body, 200),
        (token(age=24 * 3600), body, 200),
        (token(age=26 * 3600), body, 503),
        (None, body, 503),
        (token(), body + b" ", 401),
        (token(secret="another-secret"), body, 401),
        (token(account="e5f6a7b8"), body, 401),
        (f"Bearer {unsigned}.{claims}.", body, 401),
        (f"Bearer {unsigned}.{claims}.{signature}", body, 401),
        (f"Bearer {head}.{claims}", body, 401),
        ("Bearer", body, 401),
    ]
    async with receiving(room, "a1b2c3d4=signature-secret") as receiver, aiohttp.ClientSession() as session:
        answers: list[int] = []
        for authorization, sent, _ in cases:
            headers = {} if authorization is None else {"Authorization": authorization}
            async with session.post(receiver.url, data=sent, headers=headers) as answer:
                answers.append(answer.status)

    assert answers == [status for _, _, status in cases]
