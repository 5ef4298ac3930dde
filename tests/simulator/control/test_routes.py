"""The control API over real sockets: it shows everything, moves the clock, and takes a handset in hand."""

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import aiohttp
import pytest

from nexmo_dispatch_async.simulator import Simulator
from nexmo_dispatch_async.simulator.api import server
from tests.simulator.conftest import Caller, Receiver
from tests.simulator.support import step, workflow


@dataclass
class Panel:
    """Calls the control API."""

    sim: Simulator
    session: aiohttp.ClientSession

    async def get(self, path: str, **headers: str) -> tuple[int, Any]:
        async with self.session.get(self.sim.url + path, headers=headers) as response:
            return response.status, await response.json()

    async def post(self, path: str, body: object = None, **headers: str) -> tuple[int, Any]:
        async with self.session.post(
            self.sim.url + path, json={} if body is None else body, headers=headers
        ) as r:
            return r.status, await r.json()

    async def only(self) -> dict[str, Any]:
        """Return the only workflow."""
        (found,) = (await self.get("/control/state"))[1]["workflows"]
        return found  # type: ignore[no-any-return]  # JSON

    async def message(self) -> str:
        """Return the uuid of the only workflow's newest message."""
        sent = [s["message"]["uuid"] for s in (await self.only())["steps"] if "message" in s]
        return str(sent[-1])


@pytest.fixture
async def panel(sim: Simulator, caller: Caller) -> Panel:
    """The control panel of `sim`."""
    return Panel(sim, caller.session)


def whatsapp_then_sms(to: str = "999500000001", within: int = 600) -> dict[str, Any]:
    """Return the usual workflow; the recipient is silent, so that only the test acts."""
    return workflow(step("whatsapp", to, within=within, until="read"), step("sms", to))


def story(receiver: Receiver) -> list[tuple[str, str]]:
    """Return channel (or "report") and status of every status callback, in order of arrival."""
    bodies = [callback.body for callback in receiver.callbacks if "status" in callback.body]
    return [(body["to"]["type"] if "to" in body else "report", body["status"]) for body in bodies]


async def test_state_shows_a_workflow_with_its_next_failover(panel: Panel, caller: Caller) -> None:
    _, sent = await caller.send(whatsapp_then_sms())
    await panel.sim.advance(1)

    status, state = await panel.get("/control/state")

    (shown,) = state["workflows"]
    first, second = shown["steps"]
    assert status == 200
    assert state["clock"] == {
        "now_ms": 1000,
        "time": "2025-01-01T00:00:01.000Z",
        "speed": None,
        "next_event_ms": 600_000,
    }
    assert state["totals"]["in_flight"] == 1
    assert shown["uuid"] == sent["dispatch_uuid"]
    assert shown["deadline_ms"] == 600_000
    assert (first["phase"], first["message"]["status"]) == ("current", "submitted")
    assert first["message"]["can"] == ["delivered", "read", "rejected", "undeliverable"]
    assert (second["phase"], second["channel"]) == ("waiting", "sms")


async def test_state_is_bounded(panel: Panel, caller: Caller) -> None:
    """The newest come first, and only as many as asked for."""
    for _ in range(4):
        await caller.send()

    _, state = await panel.get("/control/state?limit=2")

    assert [w["number"] for w in state["workflows"]] == [4, 3]
    assert state["totals"]["in_flight"] == 4


async def test_advance_moves_the_clock_and_fails_over(
    panel: Panel, caller: Caller, receiver: Receiver
) -> None:
    await caller.send(whatsapp_then_sms(within=600))

    status, answer = await panel.post("/control/advance", {"seconds": 600})

    shown = await panel.only()
    assert status == 200
    assert answer["clock"]["now_ms"] >= 600_000
    assert [s["phase"] for s in shown["steps"]] == ["passed", "current"]
    assert shown["steps"][0]["expired"] is True
    assert story(receiver)[-1] == ("sms", "submitted")


async def test_jump_goes_to_the_next_event(panel: Panel, caller: Caller) -> None:
    await caller.send(whatsapp_then_sms(within=86_400))
    await panel.sim.advance(1)

    _, answer = await panel.post("/control/jump")

    assert (answer["jumped"], answer["clock"]["now_ms"]) == (True, 86_400_000)
    assert (await panel.only())["current"] == 1


async def test_jump_without_an_event_stays(panel: Panel) -> None:
    assert (await panel.post("/control/jump"))[1]["jumped"] is False


async def test_advance_until_idle_ends_everything(panel: Panel, caller: Caller, receiver: Receiver) -> None:
    await caller.send()

    _, answer = await panel.post("/control/advance_until_idle")

    assert answer["idle"] is True
    assert (await panel.only())["outcome"] == "completed"
    assert story(receiver)[-1] == ("report", "completed")


async def test_a_message_is_read_by_hand(panel: Panel, caller: Caller, receiver: Receiver) -> None:
    """The callback and the final report go out at once, and the answer shows both."""
    await caller.send(whatsapp_then_sms())

    status, answer = await panel.post(f"/control/messages/{await panel.message()}/status", {"status": "read"})

    shown = answer["workflow"]
    assert status == 200
    assert (shown["outcome"], shown["cost"]) == ("completed", "0.002")
    assert shown["report"]["status"] == 200
    assert shown["steps"][0]["message"]["history"][0]["status"] == "read"
    assert shown["steps"][1]["phase"] == "unused"
    assert {("whatsapp", "read"), ("report", "completed")} <= set(story(receiver))


@pytest.mark.parametrize(
    ("asked", "code"),
    [
        ({"status": "rejected"}, 1300),
        ({"status": "undeliverable"}, 1260),
        ({"status": "rejected", "code": 1340}, 1340),
    ],
)
async def test_a_message_fails_by_hand(
    panel: Panel, caller: Caller, asked: dict[str, Any], code: int
) -> None:
    """The next step is sent at once (contract 3.6), and the failure has a code."""
    await caller.send(whatsapp_then_sms())

    _, answer = await panel.post(f"/control/messages/{await panel.message()}/status", asked)

    first, second = answer["workflow"]["steps"]
    assert (first["message"]["status"], first["message"]["code"]) == (asked["status"], code)
    assert second["phase"] == "current"


async def test_a_reply_reaches_the_receiver_and_the_thread(
    panel: Panel, caller: Caller, receiver: Receiver
) -> None:
    await caller.send(whatsapp_then_sms())

    _, answer = await panel.post(f"/control/messages/{await panel.message()}/reply", {"text": "On my way"})

    message = answer["workflow"]["steps"][0]["message"]
    assert [reply["text"] for reply in message["replies"]] == ["On my way"]
    assert [c.body["message"]["content"]["text"] for c in receiver.callbacks if "message" in c.body] == [
        "On my way"
    ]


async def test_callbacks_show_every_attempt_and_the_answer(
    panel: Panel, caller: Caller, receiver: Receiver
) -> None:
    """What was posted, signed, and what came back; `after` asks for news only."""
    await caller.send()
    await panel.sim.advance(2)

    _, log = await panel.get("/control/callbacks")
    _, news = await panel.get(f"/control/callbacks?after={log['callbacks'][1]['id']}")

    newest = log["callbacks"][0]
    assert newest["kind"] == "final-report"
    assert newest["request"]["headers"]["Authorization"].startswith("Bearer ey")
    assert json.loads(newest["request"]["body"])["status"] == "completed"
    assert newest["answer"]["status"] == 200
    assert [entry["id"] for entry in news["callbacks"]] == [newest["id"]]


async def test_switches_change_the_running_service(panel: Panel, caller: Caller) -> None:
    """A quota of nothing makes the next send fail; the other switches stay."""
    _, before = await panel.get("/control/settings")

    _, after = await panel.post("/control/settings", {"quota_limit": 0})

    assert after == {**before, "quota_limit": 0}
    assert (await caller.send())[0] == 429


async def test_tokens_expire_on_demand(panel: Panel, caller: Caller) -> None:
    await caller.send()

    await panel.post("/control/tokens/expire")

    assert (await caller.send())[0] == 401


async def test_faults_are_armed_listed_and_removed(panel: Panel, caller: Caller) -> None:
    """What is armed here is what the service meets; the list counts its hits."""
    _, armed = await panel.post(
        "/control/faults", {"kind": "error", "route": "POST /dispatch", "status": 503}
    )
    (hit,) = panel.sim.faults.on_request("POST /dispatch", list)
    _, listed = await panel.get("/control/faults")
    async with caller.session.delete(
        f"{panel.sim.url}/control/faults/{armed['id']}", headers={"Content-Type": "application/json"}
    ) as response:
        left = await response.json()

    assert hit.status == 503
    assert [(fault["kind"], fault["hits"]) for fault in listed["faults"]] == [("error", 1)]
    assert left == {"faults": []}


async def test_all_faults_are_cleared(panel: Panel) -> None:
    for kind in ("latency", "duplicate"):
        await panel.post("/control/faults", {"kind": kind, "count": 0})

    assert await panel.post("/control/faults/clear") == (200, {"faults": []})


async def test_a_fault_that_is_not_there_is_not_removed(panel: Panel) -> None:
    headers = {"Content-Type": "application/json"}

    for number in ("7", "x", "-1", "9" * 5000):
        async with panel.session.delete(
            f"{panel.sim.url}/control/faults/{number}", headers=headers
        ) as response:
            assert response.status == 404


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        ("/control/advance", {}, 400),
        ("/control/advance", {"seconds": -1}, 400),
        ("/control/advance", {"seconds": 1e300}, 400),
        ("/control/advance", {"seconds": "10"}, 400),
        ("/control/advance", {"seconds": 1, "minutes": 1}, 400),
        ("/control/advance", [], 400),
        ("/control/speed", {"speed": 2}, 409),
        ("/control/pause", {}, 409),
        ("/control/resume", {}, 409),
        ("/control/messages/none/status", {"status": "read"}, 404),
        ("/control/messages/none/status", {"status": "eaten"}, 400),
        ("/control/messages/none/reply", {"text": "Hi"}, 404),
        ("/control/messages/none/reply", {"text": ""}, 400),
        ("/control/settings", {"templates": {}}, 400),
        ("/control/faults", {"kind": "earthquake"}, 400),
        ("/control/faults", {"kind": "latency", "seconds": -1}, 400),
        ("/control/faults", [], 400),
        ("/control/nothing", {}, 404),
        ("/control", {}, 404),
        ("/control/state", {}, 404),
    ],
)
async def test_mistakes_are_named(panel: Panel, path: str, body: object, status: int) -> None:
    got, answer = await panel.post(path, body)

    assert (got, bool(answer["error"])) == (status, True)


@pytest.mark.parametrize(
    "query", ["limit=-1", "limit=501", "limit=x", "limit=", "limit=99999999999999999999"]
)
async def test_limits_are_checked(panel: Panel, query: str) -> None:
    assert (await panel.get(f"/control/state?{query}"))[0] == 400


@pytest.mark.parametrize("body", [b"", b"  ", b"{}"])
async def test_an_empty_body_means_no_arguments(panel: Panel, body: bytes) -> None:
    headers = {"Content-Type": "application/json"}

    async with panel.session.post(panel.sim.url + "/control/jump", data=body, headers=headers) as response:
        assert response.status == 200


@pytest.mark.parametrize("body", [b"{", b"\xff\xfe", b"[" * 100_000, b"NaN"])
async def test_what_is_not_json_is_refused(panel: Panel, body: bytes) -> None:
    headers = {"Content-Type": "application/json"}

    async with panel.session.post(panel.sim.url + "/control/advance", data=body, headers=headers) as response:
        assert response.status == 400


async def test_the_clock_of_a_running_simulator_is_paused_and_resumed(receiver: Receiver) -> None:
    async with Simulator(speed=60) as sim, aiohttp.ClientSession() as session:
        panel = Panel(sim, session)

        paused = (await panel.post("/control/pause"))[1]["clock"]["speed"]
        resumed = (await panel.post("/control/resume"))[1]["clock"]["speed"]
        faster = (await panel.post("/control/speed", {"speed": 600}))[1]["clock"]["speed"]
        idle, _ = await panel.post("/control/advance_until_idle")

    assert (paused, resumed, faster, idle) == (0, 60, 600, 409)


async def test_a_paused_clock_jumps(receiver: Receiver) -> None:
    async with Simulator(speed=0) as sim, aiohttp.ClientSession() as session:
        application = sim.create_application(status_url=receiver.url)
        await Caller(sim, session, application).send(whatsapp_then_sms(within=600))
        panel = Panel(sim, session)

        await panel.post("/control/advance", {"seconds": 600})
        shown = await panel.only()

    assert shown["current"] == 1


# ---- from other web sites


async def test_another_site_cannot_touch_anything(panel: Panel, caller: Caller) -> None:
    """DNS rebinding, other origins and blind form posts change nothing and read nothing."""
    await caller.send()
    attacks: list[tuple[str, dict[str, str]]] = [
        ("/control/state", {"Host": "evil.example"}),
        ("/control/events", {"Host": "evil.example"}),
        ("/", {"Host": "evil.example"}),
        ("/control/state", {"Sec-Fetch-Site": "cross-site"}),
        ("/control/events", {"Origin": "http://localhost:3000"}),
    ]

    read = [(await panel.get(path, **headers))[0] for path, headers in attacks]
    written = [
        (await panel.post("/control/advance", {"seconds": 9}, **headers))[0]
        for headers in (
            {"Host": "evil.example"},
            {"Origin": "http://evil.example"},
            {"Sec-Fetch-Site": "same-site"},
            {"Content-Type": "text/plain"},
        )
    ]

    assert read == [403] * 5
    assert written == [403, 403, 403, 415]
    assert panel.sim.now == 0


@pytest.mark.parametrize(
    ("method", "path"), [("DELETE", "/control/faults"), ("POST", "/control/nothing"), ("PUT", "/control")]
)
async def test_a_route_that_does_not_exist_is_told_before_the_form_of_its_body(
    panel: Panel, method: str, path: str
) -> None:
    """No content type makes such a request right; a web site elsewhere learns nothing of routes."""
    url = panel.sim.url + path

    async with panel.session.request(method, url) as response:
        told = response.status, await response.json()
    async with panel.session.request(method, url, headers={"Origin": "http://evil.example"}) as response:
        refused = response.status

    assert told == (404, {"error": f"there is no {method} {path}"})
    assert refused == 403


async def test_a_preflight_is_not_answered_with_leave(panel: Panel) -> None:
    """Without leave a browser sends no JSON from another origin."""
    asks = {"Origin": "http://evil.example", "Access-Control-Request-Method": "POST"}

    async with panel.session.options(panel.sim.url + "/control/advance", headers=asks) as response:
        assert response.status == 403
        assert not [name for name in response.headers if name.startswith("Access-Control")]


@pytest.mark.parametrize(
    "path", ["/", "/page/page.css", "/page/page.js", "/control/state", "/control/nothing"]
)
async def test_every_answer_carries_the_policy(panel: Panel, path: str) -> None:
    async with panel.session.get(panel.sim.url + path) as response:
        headers = response.headers

    assert headers["Content-Security-Policy"].startswith("default-src 'none'")
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["X-Frame-Options"] == "DENY"
    assert not [name for name in headers if name.startswith("Access-Control")]


async def test_the_service_itself_is_as_before(panel: Panel) -> None:
    """What is not the page's or the control API's is the gateway's, and does not enter into its counts."""
    async with panel.session.get(panel.sim.url + "/elsewhere") as response:
        assert response.status == 404
        assert "fault" in await response.json()
    before = len(panel.sim.records)

    await panel.get("/control/state")

    assert len(panel.sim.records) == before


# ---- the stream


class Stream:
    """Reads server-sent events."""

    def __init__(self, response: aiohttp.ClientResponse) -> None:
        self._response = response

    async def next(self) -> tuple[str, dict[str, Any]]:
        fields: dict[str, str] = {}
        while "data" not in fields:
            while line := (await self._response.content.readline()).decode().rstrip("\n"):
                field, _, value = line.partition(": ")
                fields[field] = value
        return fields["event"], json.loads(fields["data"])


@pytest.fixture
async def stream(panel: Panel) -> AsyncIterator[Stream]:
    """The stream of `sim`, opened."""
    async with panel.session.get(panel.sim.url + "/control/events") as response:
        assert response.content_type == "text/event-stream"
        yield Stream(response)


async def test_the_stream_begins_with_everything_and_goes_on_with_changes(
    panel: Panel, caller: Caller, stream: Stream
) -> None:
    first = await stream.next()

    await caller.send(whatsapp_then_sms())
    await panel.sim.advance(1)
    while not (second := await stream.next())[1].get("callbacks"):  # a change of the clock alone has none
        pass

    assert (first[0], first[1]["workflows"]) == ("snapshot", [])
    assert second[0] == "patch"
    assert second[1]["workflows"][0]["steps"][0]["message"]["status"] == "submitted"


async def test_the_stream_tells_of_the_clock_alone(panel: Panel, stream: Stream) -> None:
    await stream.next()

    await panel.post("/control/advance", {"seconds": 30})

    assert (await stream.next())[1]["clock"]["now_ms"] == 30_000


@pytest.fixture
def long_shutdown(monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that waits for open connections longer than a test may take."""
    monkeypatch.setattr(server, "SHUTDOWN_S", 300.0)


@pytest.mark.usefixtures("long_shutdown")
async def test_the_simulator_closes_at_once_with_watchers(panel: Panel, stream: Stream) -> None:
    """An open page does not hold up the end."""
    await stream.next()

    async with asyncio.timeout(20):
        await panel.sim.aclose()


async def test_watchers_are_limited(panel: Panel) -> None:
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
        open_ones = [await session.get(panel.sim.url + "/control/events") for _ in range(17)]

        assert [response.status for response in open_ones] == [200] * 16 + [503]
        for response in open_ones:
            response.close()
