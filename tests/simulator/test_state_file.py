"""State in a file: the account, applications and tokens survive a restart; ids do not come twice."""

import asyncio
import json
import os
import stat
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from nexmo_dispatch_async import Workflow, sms
from nexmo_dispatch_async.exceptions import ConfigurationError
from nexmo_dispatch_async.simulator import Simulator
from nexmo_dispatch_async.simulator.state_file import StateFile

WORKFLOW = Workflow.failover(sms.text("Hi", from_="31647356950", to="999000000001"))

LOCAL_TIME = (
    b'{"version":1,"starts":1,"time":"2025-01-01T00:00:00","account":{"client_id":"","client_secret":"",'
    b'"api_key":"","signature_secret":""},"applications":[],"tokens":{}}'
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state.json"


def kept(path: Path) -> Any:
    return json.loads(path.read_bytes())


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


async def token_of(sim: Simulator, session: aiohttp.ClientSession) -> str:
    form = {"client_id": sim.client_id, "client_secret": sim.client_secret}
    async with session.post(sim.token_url + "?grant_type=client_credentials", data=form) as answer:
        token: str = (await answer.json())["access_token"]
        return token


async def call(
    sim: Simulator, session: aiohttp.ClientSession, method: str, path: str, token: str, **how: Any
) -> tuple[int, Any]:
    headers = {"Authorization": f"Bearer {token}"}
    async with session.request(method, sim.base_url + path, headers=headers, **how) as answer:
        text = await answer.text()
        return answer.status, json.loads(text) if text else None


async def test_the_account_its_applications_and_tokens_survive(path: Path) -> None:
    fields = {"name": "kept", "type": "messages", "status_url": "http://a.example/s"}
    async with aiohttp.ClientSession() as session:
        async with Simulator(seed=1, state=path) as first:
            token = await token_of(first, session)
            body = {**fields, "inbound_url": "http://a.example/i", "status_method": "PUT"}
            _, created = await call(first, session, "POST", "/applications", token, json=body)

        async with Simulator(seed=2, state=path) as second:
            status, read = await call(second, session, "GET", f"/applications/{created['id']}", token)

    assert status == 200
    del created["keys"]["private_key"]
    assert read == created
    for name in ("client_id", "client_secret", "api_key", "signature_secret"):
        assert getattr(second, name) == getattr(first, name)
    assert [application.id for application in second.applications] == [created["id"]]


async def test_a_client_goes_on_with_the_application_that_was_made_last(path: Path) -> None:
    async with Simulator(state=path) as first:
        made = [first.create_application(name=str(number)).id for number in range(2)]

    async with Simulator(state=path) as second, second.client() as client:
        await client.send(WORKFLOW)

    assert [application.id for application in second.applications] == made


async def test_ids_do_not_come_twice(path: Path) -> None:
    """One seed, and yet another dispatch_uuid after the restart: the receiver may still know the first."""
    sent: list[str] = []
    for _ in range(3):
        async with Simulator(seed=5, state=path) as sim, sim.client() as client:
            sent.append((await client.send(WORKFLOW)).dispatch_uuid)
            sim.create_application()

    assert len(set(sent)) == 3
    assert len({application.id for application in sim.applications}) == 4


async def test_virtual_time_goes_on(path: Path) -> None:
    async with Simulator(state=path) as first:
        await first.advance(7200)
        ended = first.time

    async with Simulator(state=path) as second:
        assert second.time == ended


async def test_tokens_expire_all_the_same(path: Path) -> None:
    async with aiohttp.ClientSession() as session:
        async with Simulator(state=path) as first:
            token = await token_of(first, session)
            await first.advance(3000)

        async with Simulator(state=path) as second:
            before, _ = await call(second, session, "GET", "/applications", token)
            await second.advance(600)
            after, _ = await call(second, session, "GET", "/applications", token)

    assert (before, after) == (200, 401)


async def test_changes_are_on_disk_before_the_end(path: Path) -> None:
    """A simulator that is killed has written what it answered."""
    async with aiohttp.ClientSession() as session, Simulator(state=path) as sim:
        token = await token_of(sim, session)
        assert sim._state is not None
        writing = sim._state._writing
        assert writing is not None
        await writing

        assert token in kept(path)["tokens"]


async def test_only_the_owner_may_read_it(path: Path) -> None:
    async with Simulator(state=path):
        assert mode(path) == 0o600
    assert [entry.name for entry in path.parent.iterdir()] == ["state.json"]


async def test_a_link_that_was_planted_is_not_followed(path: Path, tmp_path: Path) -> None:
    """In a folder of several users another one may have put it where the state is written first."""
    victim = tmp_path / "victim"
    victim.write_text("precious")
    path.with_name("state.json.new").symlink_to(victim)

    async with Simulator(state=path):
        assert mode(path) == 0o600

    assert victim.read_text() == "precious"
    assert kept(path)["version"] == 1


def test_a_link_of_ones_own_leads_to_the_state(path: Path, tmp_path: Path) -> None:
    """Into a volume that outlives the container; the link stays one."""
    (tmp_path / "volume").mkdir()
    path.symlink_to(tmp_path / "volume" / "state.json")

    async def run() -> None:
        async with Simulator(state=path):
            pass

    asyncio.run(run())

    assert path.is_symlink()
    assert mode(tmp_path / "volume" / "state.json") == 0o600
    assert kept(path)["version"] == 1


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may give files away")
def test_a_link_of_another_user_is_refused(tmp_path: Path) -> None:
    """Before anything is read through it."""
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        link = Path(folder) / "state.json"
        link.symlink_to(tmp_path / "target")
        Path(folder).chmod(0o777)
        os.chown(link, 65533, -1, follow_symlinks=False)
        os.seteuid(65534)
        try:
            with pytest.raises(ConfigurationError, match="is a link that another user"):
                StateFile(link)
        finally:
            os.seteuid(0)


async def test_a_real_clock_starts_at_now(path: Path) -> None:
    async with Simulator(state=path, speed=1):
        pass

    async with Simulator(state=path, speed=1) as second:
        assert abs((second.time - datetime.now(UTC)).total_seconds()) < 60


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (b"", "is not the state of a simulator"),
        (b"\xff", "is not the state of a simulator"),
        (b'{"version": 2}', "is not the state of a simulator: .*version"),
        (LOCAL_TIME, "times need an offset"),
    ],
)
def test_another_file_is_left_alone(path: Path, text: bytes, why: str) -> None:
    path.write_bytes(text)

    with pytest.raises(ConfigurationError, match=why):
        Simulator(state=path)

    assert path.read_bytes() == text


def test_a_folder_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="cannot read the state"):
        Simulator(state=tmp_path)


async def test_a_missing_folder_is_said_before_it_runs(tmp_path: Path) -> None:
    sim = Simulator(state=tmp_path / "missing" / "state.json")

    with pytest.raises(ConfigurationError, match=r"cannot keep the state in .*: No such file"):
        await sim.__aenter__()


async def test_a_disk_that_fails_is_told_at_the_end(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Requests are answered all the same; the last write says that something is lost."""
    sim = Simulator(state=path)
    await sim.__aenter__()
    monkeypatch.setattr(os, "fsync", _full)
    async with aiohttp.ClientSession() as session:
        await token_of(sim, session)

    with pytest.raises(OSError, match="No space left"):
        await sim.aclose()


def _full(_: int) -> None:
    raise OSError(28, "No space left on device")


async def test_a_state_file_without_a_simulator_says_so(path: Path) -> None:
    file = StateFile(path)

    assert repr(file) == f"<StateFile {path}, start 1>"
    with pytest.raises(RuntimeError, match="attach"):
        await file.__aenter__()
