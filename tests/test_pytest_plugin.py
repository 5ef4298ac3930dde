"""The pytest plugin as its users meet it: for pytest-asyncio and for anyio, set up by marker and ini file."""

import importlib
import re
import subprocess
import sys

import pytest

from nexmo_dispatch_async import pytest_plugin
from tests.support.paths import ROOT

# pytester forgets what the tests inside of a test have imported; what is here already need not come again.
importlib.import_module("nexmo_dispatch_async.client")
importlib.import_module("nexmo_dispatch_async.simulator.assertions")
importlib.import_module("nexmo_dispatch_webhooks.aiohttp")
importlib.import_module("nexmo_dispatch_webhooks.testing")

pytest_plugins = ["pytester"]

FAILOVER = """
import pytest
from nexmo_dispatch_async import Workflow, sms, viber
from nexmo_dispatch_async.simulator.assertions import assert_outcome, assert_sent
{imports}

WORKFLOW = Workflow.failover(
    viber.text("Hi", from_="VSM-ID-40817", to="999100000001").until("read", within=600),
    sms.text("Hi", from_="31647356950", to="999000000001"),
)

{mark}
async def test_unread(dispatch_simulator, dispatch_client):
    await dispatch_client.send(WORKFLOW)
    await dispatch_simulator.advance(600)

    assert_sent(dispatch_simulator, ["viber_service_msg", "sms"])
    assert_outcome(dispatch_simulator, "completed")
"""

CALLBACKS = """
from nexmo_dispatch_webhooks import FinalReport, Router
from nexmo_dispatch_async.simulator.assertions import assert_callbacks_accepted

{mark}
async def test_the_report_arrives(dispatch_simulator, dispatch_client, dispatch_receiver):
    router, reports = Router(), []

    @router.final_report()
    async def on_report(event: FinalReport) -> None:
        reports.append(event.status)

    await dispatch_receiver(router)
    await dispatch_client.send(WORKFLOW)
    await dispatch_simulator.advance(600)

    assert reports == ["completed"]
    assert_callbacks_accepted(dispatch_simulator)

{mark}
async def test_a_handler_alone(webhook_client):
    router, seen = Router(), []

    @router.final_report()
    async def on_report(event: FinalReport) -> None:
        seen.append(event.status)

    answer = await webhook_client(router).post_report("error")

    assert (answer.status, seen) == (200, ["error"])
"""

ANYIO_ON_ASYNCIO = """
@pytest.fixture
def anyio_backend():
    return "asyncio"
"""

WITHOUT = [
    f"-pno:{plugin}"
    for plugin in (
        "cacheprovider",
        "xdist",
        "timeout",
        "hypothesispytest",
        "schemathesis",
        "faker",
        "randomly",
    )
]


@pytest.fixture
def project(pytester: pytest.Pytester) -> pytest.Pytester:
    """An empty project whose warnings are errors."""
    pytester.makeini("[pytest]\nfilterwarnings = error\n")
    return pytester


def write(project: pytest.Pytester, *, mark: str = "", imports: str = "", more: str = CALLBACKS) -> None:
    project.makepyfile(FAILOVER.format(mark=mark, imports=imports) + more.format(mark=mark))


def run(project: pytest.Pytester, *options: str) -> pytest.RunResult:
    if "no:asyncio" not in options:  # without it pytest-asyncio warns, whether we are there or not
        options += ("-o", "asyncio_default_fixture_loop_scope=function")
    return project.runpytest_inprocess(*WITHOUT, *options)


# ---- runners of async tests


def test_users_of_pytest_asyncio_in_auto_mode(project: pytest.Pytester) -> None:
    write(project)

    run(project, "-o", "asyncio_mode=auto").assert_outcomes(passed=3)


def test_users_of_pytest_asyncio_in_strict_mode(project: pytest.Pytester) -> None:
    write(project, mark="@pytest.mark.asyncio")

    run(project).assert_outcomes(passed=3)


def test_an_async_test_without_a_mark_says_which_setting_runs_it(project: pytest.Pytester) -> None:
    """In strict mode, the default of pytest-asyncio, the message names `asyncio_mode` and the mark."""
    write(project, mark="")

    result = run(project)

    result.stdout.fnmatch_lines(['*write asyncio_mode = "auto" below [[]tool.pytest.ini_options[]] in*'])
    result.stdout.fnmatch_lines(["*@pytest.mark.asyncio above the test*"])


@pytest.mark.parametrize("scope", ["module", "session"])
def test_the_fixtures_follow_the_loop_of_the_test(project: pytest.Pytester, scope: str) -> None:
    """A simulator in another loop than the test's would not answer while the test waits."""
    write(project, mark=f'@pytest.mark.asyncio(loop_scope="{scope}")')

    run(project).assert_outcomes(passed=3)


def test_the_fixtures_follow_the_default_loop_of_tests(project: pytest.Pytester) -> None:
    write(project)

    result = run(project, "-o", "asyncio_mode=auto", "-o", "asyncio_default_test_loop_scope=session")

    result.assert_outcomes(passed=3)


def test_users_of_anyio(project: pytest.Pytester) -> None:
    """It comes with the package, so its marker always works; pytest-asyncio may be there as well."""
    write(project, mark="@pytest.mark.anyio", imports=ANYIO_ON_ASYNCIO)

    run(project).assert_outcomes(passed=3)


def test_users_of_anyio_alone(project: pytest.Pytester) -> None:
    write(project, mark="@pytest.mark.anyio", imports=ANYIO_ON_ASYNCIO)

    run(project, "-p", "no:asyncio").assert_outcomes(passed=3)


def test_users_of_anyio_in_auto_mode(project: pytest.Pytester) -> None:
    write(project, imports=ANYIO_ON_ASYNCIO)

    run(project, "-p", "no:asyncio", "-o", "anyio_mode=auto").assert_outcomes(passed=3)


def test_trio_is_refused_with_the_cure(project: pytest.Pytester) -> None:
    trio = ANYIO_ON_ASYNCIO.replace("asyncio", "trio")
    write(project, mark="@pytest.mark.anyio", imports=trio, more="")

    result = run(project)

    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(['*dispatch_simulator runs on asyncio, this test on trio: *return "asyncio"'])


@pytest.mark.parametrize("options", [(), ("-p", "no:asyncio")])
def test_an_async_test_without_a_runner_names_the_plugins(
    project: pytest.Pytester, options: tuple[str, ...]
) -> None:
    project.makepyfile("def test_sync(dispatch_simulator): pass")

    result = run(project, *options)

    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["*dispatch_simulator needs an async test that a plugin runs: *"])


def test_an_older_pytest_asyncio_breaks_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its decorator knew no loop_scope; runs that use no fixture of ours must not notice."""

    def older(*, name: str) -> None: ...

    monkeypatch.setattr("pytest_asyncio.fixture", older)
    manager = pytest.PytestPluginManager()

    pytest_plugin.pytest_plugin_registered(importlib.import_module("pytest_asyncio.plugin"), manager)

    assert not manager.has_plugin("nexmo-dispatch-asyncio")


# ---- how it is set up


def test_marker_and_ini_file_set_the_simulator_up(project: pytest.Pytester) -> None:
    """The closest marker wins; a configuration file is relative to the file that names it."""
    project.makefile(".toml", quick="[default]\nread_after = 1\n", slow="[default]\nread_after = 2\n")
    project.makepyfile(
        """
        import pytest
        from nexmo_dispatch_async.simulator import Simulator
        pytestmark = [pytest.mark.asyncio, pytest.mark.dispatch_simulator(seed=3, sandbox=True)]

        def read_after(sim):
            return sim.people.default.read_after

        async def test_module(dispatch_simulator):
            assert dispatch_simulator.client_id == Simulator(seed=3).client_id
            assert dispatch_simulator.settings.sandbox
            assert read_after(dispatch_simulator) == 1

        @pytest.mark.dispatch_simulator(seed="word", config="slow.toml")
        async def test_function(dispatch_simulator):
            assert dispatch_simulator.client_id == Simulator(seed="word").client_id
            assert dispatch_simulator.settings.sandbox
            assert read_after(dispatch_simulator) == 2
        """
    )

    run(project, "-o", "dispatch_config=quick.toml").assert_outcomes(passed=2)


@pytest.mark.parametrize(("ini", "seed"), [("17", 17), ("word", "word")])
def test_the_ini_file_gives_the_seed(project: pytest.Pytester, ini: str, seed: int | str) -> None:
    project.makepyfile(
        f"""
        from nexmo_dispatch_async.simulator import Simulator
        async def test_seed(dispatch_simulator):
            assert dispatch_simulator.client_id == Simulator(seed={seed!r}).client_id
        """
    )

    run(project, "-o", "asyncio_mode=auto", "-o", f"dispatch_seed={ini}").assert_outcomes(passed=1)


def test_a_receiver_may_be_told_how_to_verify(project: pytest.Pytester) -> None:
    more = """
{mark}
async def test_unverified(dispatch_simulator, dispatch_client, dispatch_receiver):
    from nexmo_dispatch_webhooks import Router
    url = await dispatch_receiver(Router(), path="/hooks", verification=None)
    assert url.endswith("/hooks")
    await dispatch_client.send(WORKFLOW)
    await dispatch_simulator.advance(0)
    assert [d.status for d in dispatch_simulator.deliveries] == [200, 200]
"""
    write(project, mark="@pytest.mark.asyncio", more=more)

    run(project).assert_outcomes(passed=2)


def test_the_tests_of_the_documentation_pass(project: pytest.Pytester) -> None:
    """All blocks of docs/testing.md together, except the one that is no test."""
    page = (ROOT / "docs" / "testing.md").read_text("utf-8")
    blocks = re.findall(r"^```python\n(.*?)^```", page, re.DOTALL | re.MULTILINE)
    project.makepyfile("\n".join(block for block in blocks if "\nasync with" not in block))

    run(project, "-o", "asyncio_mode=auto").assert_outcomes(passed=4)


def test_the_test_of_a_handler_in_the_documentation_passes(project: pytest.Pytester) -> None:
    """As it is written in docs/testing_handlers.md, in the mode that pytest-asyncio has by default."""
    page = (ROOT / "docs" / "testing_handlers.md").read_text("utf-8")
    sections = re.split(r"^## ", page, flags=re.MULTILINE)
    wanted = [text for text in sections if text.startswith(("What is tested here\n", "With pytest\n"))]
    project.makepyfile(
        "\n".join(re.findall(r"^```python\n(.*?)^```", "".join(wanted), re.DOTALL | re.MULTILINE))
    )

    run(project).assert_outcomes(passed=1)


# ---- what it shows and what it costs


def test_a_failed_test_shows_what_happened(project: pytest.Pytester) -> None:
    """With the assertion's own message, and for any other failure as a section of the report."""
    more = """
{mark}
async def test_wrong(dispatch_simulator, dispatch_client):
    await dispatch_client.send(WORKFLOW)
    assert dispatch_simulator.sent_channels() == []
"""
    write(project, mark="@pytest.mark.asyncio", more=more)

    result = run(project)

    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(
        ["*- dispatch_simulator -*", "*step 1 sent on viber_service_msg", "*→ POST */dispatch → 202"]
    )


def test_a_failed_assertion_shows_the_timeline_once(project: pytest.Pytester) -> None:
    """Its message has it already."""
    more = """
{mark}
async def test_wrong(dispatch_simulator, dispatch_client):
    from nexmo_dispatch_async.simulator.assertions import assert_sent
    await dispatch_client.send(WORKFLOW)
    assert_sent(dispatch_simulator, [])
"""
    write(project, mark="@pytest.mark.asyncio", more=more)

    result = run(project, "-rN")  # no summary: in continuous integration pytest repeats whole messages there

    result.assert_outcomes(passed=1, failed=1)
    assert str(result.stdout).count("/dispatch → 202") == 1


@pytest.mark.parametrize("options", [(), ("--full-trace",)])
def test_an_error_of_ours_shows_the_line_of_the_test(
    project: pytest.Pytester, options: tuple[str, ...]
) -> None:
    """The message says what happened; lines of this package would hide it, and --full-trace shows them."""
    more = """
{mark}
async def test_wrong(dispatch_simulator):
    from nexmo_dispatch_async.tracking import Tracker
    async with dispatch_simulator.client(tracker=Tracker()) as client:
        dispatch = await client.send(WORKFLOW)
        await dispatch.wait(timeout=0)
"""
    write(project, mark="@pytest.mark.asyncio", more=more)

    result = run(project, *options)

    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(
        [">*await dispatch.wait(timeout=0)", "*E*WaitTimeoutError: workflow * had not *"]
    )
    assert ("tracker.py" in str(result.stdout)) == bool(options)


def test_the_marker_is_known(project: pytest.Pytester) -> None:
    result = run(project, "--markers")

    result.stdout.fnmatch_lines(["@pytest.mark.dispatch_simulator(*"])


def test_the_plugin_imports_neither_simulator_nor_aiohttp() -> None:
    """Every pytest run on a machine with the package pays for the plugin."""
    code = """
import sys, nexmo_dispatch_async.pytest_plugin
heavy = {"aiohttp", "jwt", "cryptography", "pytest_asyncio", "nexmo_dispatch_async.simulator"}
print(sorted(heavy & sys.modules.keys()))
"""

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout.strip() == "[]"
