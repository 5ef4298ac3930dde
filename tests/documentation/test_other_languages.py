"""What docs/other_languages.md shows with curl and Node, run against `nexmo-dispatch simulate`."""

import asyncio
import json
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
from nexmo_dispatch_async.workflow import Workflow
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


async def ended(room: Path, environment: dict[str, str], *command: str) -> tuple[int, str, str]:
    """Run a program of the page; return its exit code, what it printed, and its complaints."""
    process = await asyncio.create_subprocess_exec(
        *command,
        cwd=room,
        env=os.environ | environment,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    async with asyncio.timeout(BOUND_S):
        printed, complaints = await process.communicate()
    assert process.returncode is not None
    return process.returncode, printed.decode(), complaints.decode()


async def run(room: Path, *command: str) -> str:
    """Run a program of the page in a shell that has read the settings of `env.sh`."""
    code, printed, complaints = await ended(room, {}, "sh", "-c", ". ./env.sh && exec " + " ".join(command))
    assert code == 0, complaints
    return printed


def settings_of(simulator: Simulator) -> dict[str, str]:
    """Return what `nexmo-dispatch simulate` exports."""
    return {
        "NEXMO_DISPATCH_TOKEN_URL": simulator.token_url,
        "NEXMO_DISPATCH_BASE_URL": simulator.base_url,
        "NEXMO_DISPATCH_CLIENT_ID": simulator.client_id,
        "NEXMO_DISPATCH_CLIENT_SECRET": simulator.client_secret,
        "NEXMO_DISPATCH_APPLICATION_ID": simulator.create_application().id,
    }


SENDING = ("TOKEN_URL", "BASE_URL", "CLIENT_ID", "CLIENT_SECRET", "APPLICATION_ID")
SENDERS = pytest.mark.parametrize(
    "command", [("curl", "sh", "send.sh"), ("node", "node", "send.mjs")], ids=["curl", "node"]
)


@pytest.mark.timeout(90)
async def test_a_workflow_goes_out_with_curl_and_comes_back_to_node(room: Path) -> None:
    """Token, dispatch, the clock and verified callbacks, without a line of Python."""
    needed("curl")
    same = Simulator(seed=7)  # one seed, one account
    simulate = ("simulate", "--port", "0", "--seed", "7", "--env", str(room / "env.sh"))
    async with (
        receiving(room, f"{same.api_key}={same.signature_secret}") as receiver,
        serving(*simulate, "--callback-url", receiver.url) as command,
    ):
        await command.until("^the simulator is ready")
        with_curl = await run(room, "sh", "send.sh")
        with_node = await run(room, needed("node"), "send.mjs")
        moved = await run(room, "sh", "clock.sh")
        await receiver.until("completed", times=2)

    assert '"dispatch_uuid"' in with_curl
    assert with_curl.endswith("}\n")  # or the prompt of the shell would follow it
    assert moved.endswith("}\n")
    assert with_node.startswith("202 ")
    assert {"submitted", "delivered", "completed"} == set(receiver.printed)


async def test_the_workflow_for_other_channels_reaches_its_second_step(room: Path) -> None:
    """No customer wrote, and nothing is rejected: the template is not read, the tagged message arrives."""
    workflow = Workflow.from_json((room / "workflow.json").read_bytes())

    async with Simulator() as simulator, simulator.client() as client:
        await client.send(workflow)
        await simulator.advance_until_idle()
        records = [json.loads(line) for line in simulator.transcript().splitlines()]

    statuses = [(each["step"], each["status"]) for each in records if each["record"] == "status"]
    assert workflow.lint() == []
    assert statuses == [(0, "submitted"), (1, "submitted"), (1, "delivered"), (1, "read")]


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


@SENDERS
async def test_wrong_credentials_stop_a_sender_with_the_words_of_the_service(
    room: Path, command: tuple[str, ...]
) -> None:
    """Without a token nothing is sent, and the reason is shown."""
    needed(command[0])
    async with Simulator() as simulator:
        settings = settings_of(simulator) | {"NEXMO_DISPATCH_CLIENT_SECRET": "another"}
        code, printed, complaints = await ended(room, settings, *command[1:])

    assert code == 1
    assert printed == ""
    assert "no token: " in complaints
    assert "invalid_client" in complaints
    assert [entry.path for entry in simulator.requests if entry.path.endswith("/dispatch")] == []


@SENDERS
async def test_a_send_that_is_refused_fails(room: Path, command: tuple[str, ...]) -> None:
    """The exit code says so, and the words of the service are printed."""
    needed(command[0])
    async with Simulator() as simulator:
        settings = settings_of(simulator) | {"NEXMO_DISPATCH_APPLICATION_ID": "not-mine"}
        code, printed, _ = await ended(room, settings, *command[1:])

    assert code != 0
    assert "Application not found" in printed
    assert simulator.accepted == 0


@pytest.mark.parametrize(
    ("command", "names"),
    [
        (("sh", "send.sh"), SENDING),
        (("node", "send.mjs"), SENDING),
        (("node", "receive.mjs"), ("SIGNATURE_SECRETS",)),
        (("sh", "clock.sh"), ("BASE_URL",)),
    ],
    ids=["send.sh", "send.mjs", "receive.mjs", "clock.sh"],
)
async def test_a_missing_setting_is_named_in_one_line(
    room: Path, command: tuple[str, ...], names: tuple[str, ...]
) -> None:
    """A reader who forgot `. ./env.sh` is told what is missing, before any request."""
    needed(command[0])
    every = {f"NEXMO_DISPATCH_{name}": "http://127.0.0.1:9" for name in names}
    for missing in every:
        code, printed, complaints = await ended(room, every | {missing: ""}, *command)

        assert code != 0
        assert printed == ""
        assert complaints.count("\n") == 1
        assert missing in complaints
        assert "is not set" in complaints


async def test_a_receiver_outlives_a_request_that_breaks_off(room: Path) -> None:
    """Half a body, and then a signed body that is no JSON: the next callback is answered."""
    body = b'{"status": "read"}'
    async with receiving(room, "a1b2c3d4=signature-secret") as receiver, aiohttp.ClientSession() as session:
        port = int(receiver.url.split(":")[2].partition("/")[0])
        for _ in range(3):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(b"POST /webhooks HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nhalf")
            writer.write_eof()
            async with asyncio.timeout(BOUND_S):
                await reader.read()  # until the receiver has closed
            writer.close()
        answers: list[int] = []
        for sent in (b"no JSON", b"null", body):
            token = sign(sent, secret="signature-secret", api_key="a1b2c3d4", jti="j1")
            async with session.post(receiver.url, data=sent, headers={"Authorization": token}) as answer:
                answers.append(answer.status)

    assert answers == [400, 400, 200]
    assert receiver.printed == ["read"]


async def test_the_test_of_the_page_passes(room: Path) -> None:
    """`node --test` finds it and runs it."""
    code, printed, _ = await ended(room, {}, needed("node"), "--test")

    assert code == 0, printed
    assert "only the signed bytes are accepted" in printed
