"""10,000 requests made from the description, right and wrong: no 5xx, no answer that it does not describe.

Run by `make soak`, which installs schemathesis; another SCHEMATHESIS_SEED makes other requests.
"""

import asyncio
import importlib
import multiprocessing
import os
import threading
import time
import traceback
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from nexmo_dispatch_async.simulator import Simulator
from nexmo_dispatch_async.simulator.api import openapi
from nexmo_dispatch_async.simulator.api.service import BASE_PATH, TOKEN_PATH

requests: Any = pytest.importorskip("requests")
schemathesis: Any = pytest.importorskip("schemathesis")

CASES = 10_000
SEED = int(os.environ.get("SCHEMATHESIS_SEED", "0"))
# Of each kind, right and wrong; these bodies take the most time to make, the rest gets what is left.
SENDS, CREATIONS = 400, 300
PROCESSES = 2
CHECKS = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
    "positive_data_acceptance",
    "missing_required_header",
    "unsupported_method",
    "allow_header_conformance",
    "ignored_auth",
)


@contextmanager
def running() -> Iterator[Simulator]:
    """Run a simulator in a thread: schemathesis calls it as any other client, and blocks while it does."""
    sim, started = Simulator(history=1000), threading.Event()
    stop: list[Any] = []

    async def serve() -> None:
        end = asyncio.Event()
        stop.append((asyncio.get_running_loop(), end))
        async with sim:
            started.set()
            await end.wait()

    thread = threading.Thread(target=asyncio.run, args=(serve(),))
    thread.start()
    assert started.wait(10)
    try:
        yield sim
    finally:
        loop, end = stop[0]
        loop.call_soon_threadsafe(end.set)
        thread.join(10)


class Fuzzer:
    """Makes the calls and counts the answers."""

    def __init__(self, sim: Simulator) -> None:
        registry: Any = importlib.import_module("schemathesis.checks")
        registry.load_all_checks()
        self.sim = sim
        self.checks = [registry.CHECKS.get_one(name) for name in CHECKS]
        self.schema = schemathesis.openapi.from_dict(openapi.description())
        self.answers: Counter[str] = Counter()
        self.cases = 0
        self.sessions = [requests.Session(), requests.Session()]
        # Without this header the simulator answers sends on a lane of their own.
        self.sessions[1].headers["Connection"] = None
        self.application = sim.create_application(
            status_url="http://127.0.0.1:9/", inbound_url="http://127.0.0.1:9/"
        )
        form = {"client_id": sim.client_id, "client_secret": sim.client_secret}
        url = f"{sim.url}{TOKEN_PATH}?grant_type=client_credentials"
        answer = self.sessions[0].post(url, data=form)
        self.token: str = answer.json()["access_token"]

    def operations(self) -> list[tuple[Any, Any]]:
        """Return every operation with every mode: requests that fit the description, and that do not."""
        operations = [found.ok() for found in self.schema.get_all_operations()]
        return [(operation, mode) for operation in operations for mode in schemathesis.GenerationMode]

    def cases_of(self, operation: Any, mode: Any) -> st.SearchStrategy[Any]:
        """Make everything up, or take what exists: else hardly a call would get past the id."""
        known: dict[str, Any] = {}
        if "{id}" in operation.path:
            known["path_parameters"] = {"id": self.application.id}
        if operation.path == f"{BASE_PATH}/dispatch":
            known["headers"] = {"ApplicationId": self.application.id}
        if operation.path == TOKEN_PATH and mode.name == "POSITIVE":
            known["body"] = {"client_id": self.sim.client_id, "client_secret": self.sim.client_secret}
        real = operation.as_strategy(generation_mode=mode, **known)
        return st.one_of(operation.as_strategy(generation_mode=mode), real, real) if known else real

    def run(self, operation: Any, mode: Any, wanted: int) -> None:
        before, cases = self.cases, self.cases_of(operation, mode)

        @settings(
            max_examples=wanted,
            deadline=None,
            database=None,
            suppress_health_check=list(HealthCheck),
            phases=[Phase.generate],
        )
        @given(case=cases)
        def check(case: Any) -> None:
            self.call(operation, mode, case)

        for again in range(20):  # a strategy with few examples comes to its end early
            if self.cases - before >= wanted:
                break
            seed(SEED + again)(check)()

    def call(self, operation: Any, mode: Any, case: Any) -> None:
        self.cases += 1
        self.sim._engine.applications.restore(self.application)  # the call before may have deleted it
        answer = case.call(
            base_url=self.sim.url,
            session=self.sessions[self.cases % 2],
            headers={"Authorization": f"Bearer {self.token}"},
        )
        self.answers[f"{answer.status_code}"] += 1
        try:
            case.validate_response(answer, checks=self.checks)
        except BaseExceptionGroup as found:
            if not self._too_long_to_describe(found, answer):
                raise

    @staticmethod
    def _too_long_to_describe(found: BaseExceptionGroup[Any], answer: Any) -> bool:
        """Say whether the schema is only silent on the last of four steps and more (contract 3.1)."""
        if [type(error).__name__ for error in found.exceptions] != ["RejectedPositiveData"]:
            return False
        named = answer.json().get("invalid_parameters", [])
        return bool(named) and all(entry["name"].endswith(".failover") for entry in named)


def _wanted(operation: Any) -> int:
    """Return how many cases an operation gets in each mode; 0 for its part of the rest."""
    if operation.path.endswith("/dispatch"):
        return SENDS
    return CREATIONS if operation.path.startswith(BASE_PATH) and operation.method == "post" else 0


def fuzz(share: int) -> tuple[int, Counter[str], str]:
    """Do a share of the work in a process of its own; return cases, answers and what was wrong."""
    with running() as sim:
        fuzzer = Fuzzer(sim)
        operations = fuzzer.operations()
        counts = {operation.label: _wanted(operation) for operation, _ in operations}
        rest = CASES - 2 * sum(counts.values())
        share_of_rest = -(-rest // (2 * list(counts.values()).count(0)))
        try:
            for place, (operation, mode) in enumerate(operations):
                # both modes of one operation never go to the same process: the sends are shared evenly
                if (place + place // 2) % PROCESSES == share:
                    fuzzer.run(operation, mode, counts[operation.label] or share_of_rest)
        except BaseException:  # noqa: BLE001 - told by the test, whatever it is; not every error can be pickled
            return fuzzer.cases, fuzzer.answers, traceback.format_exc()
        return fuzzer.cases, fuzzer.answers, ""


@pytest.mark.timeout(900)
def test_10_000_requests_get_described_answers() -> None:
    """Every answer is one that the description names: its status, type, headers and body."""
    started = time.monotonic()
    with ProcessPoolExecutor(PROCESSES, mp_context=multiprocessing.get_context("spawn")) as pool:
        shares = list(pool.map(fuzz, range(PROCESSES)))

    cases, answers = sum(share[0] for share in shares), sum((share[1] for share in shares), Counter[str]())
    print(f"{cases} requests in {time.monotonic() - started:.0f} s, answers {dict(sorted(answers.items()))}")
    wrong = "\n".join(share[2] for share in shares if share[2])
    assert not wrong, wrong
    assert cases >= CASES
    assert answers["202"] >= SENDS // 4
    assert not any(status.startswith("5") for status in answers)
