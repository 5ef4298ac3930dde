"""Fixtures that many test modules share."""

import gc
import json
import re
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from _pytest.runner import runtestprotocol
from aioresponses import aioresponses
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from nexmo_dispatch_async.workflow import Workflow
from tests.simulator.page.browser import chromium, find_browser
from tests.support.aioresponses_fix import patched
from tests.support.log_guard import guarded
from tests.support.paths import PAYLOADS
from tests.support.ports import HeldPort
from tests.support.tls import make_certificate

# Their assertions tell what they compared, as those of tests do.
for suite in ("claims", "results", "rates", "processes"):
    pytest.register_assert_rewrite(f"nexmo_dispatch_async.bulk.ledger.conformance_{suite}")
pytest.register_assert_rewrite("nexmo_dispatch_async.tracking.conformance")
pytest.register_assert_rewrite("nexmo_dispatch_webhooks.inbox.conformance")

pytest_plugins = ["tests.support.nats_fixtures", "tests.support.pgbouncer", "tests.support.postgres"]

# Modules and collected tests are there until the end: the garbage collector looks through them less often.
gc.set_threshold(50_000, 20, 50)

# A busy machine is no reason for a property to fail. `make test` tries the examples of the quick profile, and
# every other target those of the usual one. `pytest --hypothesis-profile thorough` tries ten times as many.
settings.register_profile(
    "usual", max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.register_profile("quick", settings.get_profile("usual"), max_examples=20)
settings.register_profile("thorough", settings.get_profile("usual"), max_examples=1000)
# For `make mutants`: that a property fails is enough, the shortest example is for people.
settings.register_profile(
    "mutants", settings.get_profile("quick"), phases=(Phase.explicit, Phase.generate), database=None
)
settings.load_profile("usual")


#: Seconds after which a test of servers, or a long one, is taken for one that hangs.
HEAVY_S = 120


@pytest.hookimpl(trylast=True)  # after a plugin that shuffles the tests
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run the tests in a browser first: it takes long to start, and one worker has it to itself.

    A test that starts servers, or repeats at length, has more time until it is taken for one that hangs: it
    shares the machine with servers and processes of others.
    """
    items.sort(key=lambda item: "devtools" not in getattr(item, "fixturenames", ()))
    for item in items:
        heavy = any(item.get_closest_marker(name) is not None for name in ("engines", "long"))
        if heavy and item.get_closest_marker("timeout") is None:
            item.add_marker(pytest.mark.timeout(HEAVY_S))


@settings(max_examples=1, database=None)
@given(st.text())
def first_property(text: str) -> None:
    """Hold nothing: what Hypothesis does at its first property of a process is done afterwards."""
    del text


def pytest_collection_finish(session: pytest.Session) -> None:
    """Do before the first test, in no test's time, what would be done in that of whichever comes first.

    In a fresh clone Hypothesis makes its table of the characters that UTF-8 can encode: seconds of work, more
    under coverage. Where the environment names a run of continuous integration, it also registers its source
    of chance, and fails if the garbage collector does not see who holds that: so it does before the freeze.
    The garbage collector then leaves out what was collected: a test that calls it looks at its own objects.
    """
    if any(item.get_closest_marker("hypothesis") is not None for item in session.items):
        first_property()
    gc.collect()
    gc.freeze()


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item, nextitem: pytest.Item | None) -> bool | None:
    """Tell the process that reports of the calls of tests alone, and of what failed around them.

    A worker says otherwise of each test three times that it passed, which costs as much as the small ones.
    """
    wants_more = any(item.config.getoption(name, None) is not None for name in ("xmlpath", "durations"))
    if wants_more or not hasattr(item.config, "workerinput"):
        return None
    item.ihook.pytest_runtest_logstart(nodeid=item.nodeid, location=item.location)
    for report in runtestprotocol(item, log=False, nextitem=nextitem):
        if report.when == "call" or not report.passed:
            item.ihook.pytest_runtest_logreport(report=report)
    item.ihook.pytest_runtest_logfinish(nodeid=item.nodeid, location=item.location)
    return True


@pytest.fixture(scope="session")
def devtools(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A headless Chromium for all tests of pages; the address of its DevTools."""
    executable = find_browser()
    if executable is None:
        pytest.skip("no Chromium is installed: on Debian, apt-get install chromium")
    with chromium(executable, tmp_path_factory.mktemp("chromium")) as address:
        yield address


@pytest.fixture(scope="session")
def workflow() -> Workflow:
    """Return a workflow without faults: WhatsApp, then SMS."""
    return Workflow.from_json((PAYLOADS / "requests" / "whatsapp_text.json").read_bytes())


# The tests of the client, in which everything that is logged is read.
CLIENT_TESTS = re.compile(
    r"(?:transport|fan_out)/|bulk/test_suspended_sender\."
    r"|test_(?:client\w*|closing_in_scopes|interruptions|applications|auth|sansio\w*|middleware|otel|logging)\."
    r"|test_(?:exceptions|redaction|urls)\."
)


def place_of(module: Path) -> str:
    """Return where a test module is, below the folder of the tests."""
    return module.relative_to(Path(__file__).parent).as_posix()


@pytest.fixture(autouse=True)
def nothing_private_is_logged(request: pytest.FixtureRequest) -> Iterator[None]:
    """Fail a test of the client that logs a token, a secret, a number or a text, on whichever worker."""
    if not CLIENT_TESTS.match(place_of(request.node.path)):
        yield
        return
    with guarded() as guard:
        yield
    assert guard.found == []


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a certificate for localhost with its key, made for this run."""
    return make_certificate(tmp_path_factory.mktemp("tls") / "localhost.pem")


@pytest.fixture
def hold_port() -> Iterator[Callable[[], int]]:
    """Return ports, one a call, that refuse connections until a server of the test listens there."""
    with ExitStack() as stack:
        yield lambda: stack.enter_context(HeldPort()).number


@pytest.fixture
def elsewhere(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A machine whose own time zone is not UTC, and has half an hour in it."""
    monkeypatch.setenv("TZ", "Asia/Kolkata")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.fixture
def mocked() -> Iterator[aioresponses]:
    """Yield aioresponses that works with the installed aiohttp: answers without a socket."""
    with patched(), aioresponses() as mock:
        yield mock


def payload(name: str) -> Any:
    """Return the JSON of an example file of the contract."""
    return json.loads((PAYLOADS / name).read_bytes())
