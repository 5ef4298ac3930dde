"""The one-way arrows of docs/architecture.md, read from the imports themselves."""

import ast
from collections.abc import Iterator
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

from tests.support.paths import ROOT

SDK, RECEIVER, CORE = "nexmo_dispatch_async", "nexmo_dispatch_webhooks", "nexmo_dispatch_core"
IO_LIBRARIES = {"aiohttp", "anyio", "asyncio", "socket", "sqlite3", "selectors", "threading"}
IO_LIBRARIES |= {"psycopg", "psycopg_pool"}

# Layer by layer, lowest first: a module may import modules of lower layers and of its own. A package stands
# for all its modules, unless a module of it has a place of its own.
SDK_LAYERS = [
    {"failover"},
    {
        "advice",
        "durations",
        "exceptions",
        "models",
        "redaction",
        "urls",
        "sms_segments",
        "event_loop",
        "_version",
        "quota",
    },
    {"checks", "phone_numbers"},
    {"workflow", "channels", "rules", "templates", "tariff", "care_window", "sansio"},
    {
        "auth",
        "environment",
        "retry",
        "transport.keep_alive",
        "transport.proxies",
        "transport.causes",
    },
    {"interruption", "middleware", "transport.statistics", "transport.deadlines"},
    {"fan_out", "transport.progress", "transport.decision"},
    {"transport.failures", "transport.settings"},
    {"transport.wire"},
    {"transport.session_wire"},
    {"transport.wire_fast_path"},
    {"transport.connections"},
    {"transport.attempt", "transport.tokens"},
    {"transport.call"},
    {"transport", "arguments"},
    {"tracking"},
    {"applications", "client_settings"},
    {"client"},
    {"otel"},
    {"bulk"},
    {"simulator"},
    {"pytest_plugin"},
    {"cli"},
]
PURE = {
    SDK: {
        "advice",
        "durations",
        "checks",
        "exceptions",
        "redaction",
        "models",
        "sms_segments",
        "workflow",
        "channels",
    }
    | {"rules", "templates", "tariff", "care_window", "sansio", "quota", "auth", "environment"}
    | {"retry", "urls", "arguments", "interruption", "tracking", "simulator", "bulk"}
    | {"transport.keep_alive", "transport.proxies", "transport.statistics", "transport.decision"},
    RECEIVER: {"exceptions", "events", "signature", "sansio", "injection", "middleware", "routes", "routing"}
    | {"receiver"},
    CORE: {"backoff", "checks", "lenient", "vocabulary"},
}
# The modules of otherwise pure packages that hold sockets, files, threads or tasks.
IMPURE = {
    *(f"tracking.{name}" for name in ("tracker", "sqlite", "postgres", "jetstream", "conformance")),
    *(f"bulk.{name}" for name in ("campaign", "callbacks", "plan")),
    *(f"bulk.rows.{name}" for name in ("additions", "intake", "readers", "seen")),
    *(f"bulk.ledger.sqlite{part}" for part in ("", "_writer", "_file", "_sql", "_claims", "_results")),
    *(f"bulk.ledger.postgres{part}" for part in ("", "_opt_outs")),
    *(f"bulk.ledger.jetstream{part}" for part in ("", "_batches", "_campaigns", "_journal", "_opt_outs")),
    *(
        f"bulk.ledger.{name}"
        for name in (
            "owner",
            "cancelled_claims",
            "opt_outs_sqlite",
            "opt_outs_sql",
            "conformance_processes",
            "conformance_bounds",
        )
    ),
    *(f"bulk.sending.{name}" for name in ("sender", "settling", "paced_sends", "shared_pace")),
    "care_window.sqlite",
    *(
        "simulator.simulator",
        "simulator.api.server",
        "simulator.api.server_fast_path",
        "simulator.callbacks.delivery",
    ),
    *(f"simulator.control.{name}" for name in ("routes", "http", "fault_routes", "account_routes")),
    "simulator.state_file",
}


def sources(package: str) -> Iterator[tuple[str, Path]]:
    """Yield the dotted name, relative to the package, and the path of every module."""
    base = ROOT / "webhooks" / package if package == RECEIVER else ROOT / package
    for path in sorted(base.rglob("*.py")):
        parts = path.relative_to(base).with_suffix("").parts
        yield ".".join(part for part in parts if part != "__init__"), path


@cache
def statements(path: Path) -> list[ast.stmt]:
    """Return every statement of a file, which several tests look at; expressions hold none."""
    found: list[ast.stmt] = []
    blocks: list[ast.AST] = [ast.parse(path.read_text("utf-8"))]
    for block in blocks:
        for name in ("body", "orelse", "finalbody", "handlers", "cases"):
            inner: list[ast.AST] = getattr(block, name, [])
            blocks += inner
            found += [node for node in inner if isinstance(node, ast.stmt)]
    return found


def imports(path: Path) -> set[str]:
    """Return every absolute module name that a file imports, wherever in the file it stands."""
    found: set[str] = set()
    for node in statements(path):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module is not None:
            assert node.level == 0, f"{path.name}: imports are absolute here"
            found.add(node.module)
            found.update(f"{node.module}.{alias.name}" for alias in node.names)
    return found


def type_checking_imports(path: Path) -> set[str]:
    """Return the imports under `if TYPE_CHECKING`, which cost nothing and draw no arrow."""
    found: set[str] = set()
    for node in statements(path):
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
            for inner in ast.walk(node):
                if isinstance(inner, ast.ImportFrom) and inner.module:
                    found.add(inner.module)
                    found.update(f"{inner.module}.{alias.name}" for alias in inner.names)
    return found


def layer(module: str) -> int | None:
    """Return the layer of a module, by its own name or that of the nearest package above it."""
    while module:
        for number, names in enumerate(SDK_LAYERS):
            if module in names:
                return number
        module = module.rpartition(".")[0]
    return None


def test_every_module_of_the_sdk_has_a_layer() -> None:
    """A new module takes a place in the map before it takes imports."""
    unknown = {name for name, _ in sources(SDK) if name and layer(name) is None}

    assert unknown == set()


def test_arrows_of_the_sdk_point_down() -> None:
    """No module of the SDK imports from a higher layer."""
    wrong: list[str] = []
    for name, path in sources(SDK):
        if not name:
            continue
        for imported in imports(path):
            if not imported.startswith(SDK + "."):
                continue
            target = imported.removeprefix(SDK + ".")
            if (layer(target) or 0) > (layer(name) or 0):
                wrong.append(f"{name} -> {target}")

    assert wrong == []


def test_the_receiver_knows_nothing_of_the_sdk() -> None:
    """The receiver is usable without the SDK."""
    wrong = [name for name, path in sources(RECEIVER) if any(i.startswith(SDK) for i in imports(path))]

    assert wrong == []


def test_the_core_knows_neither_package() -> None:
    """Both packages stand on it, so it imports neither."""
    found = dict(sources(CORE))
    wrong = [
        name for name, path in found.items() if any(i.startswith((SDK, RECEIVER)) for i in imports(path))
    ]

    assert "sqlite" in found
    assert wrong == []


def test_the_sdk_takes_only_events_from_the_receiver() -> None:
    """Only tracking, bulk and simulator read the receiver's events; the command line may use all of it."""
    wrong: list[str] = []
    for name, path in sources(SDK):
        top = name.split(".", 1)[0]
        for imported in imports(path):
            if not imported.startswith(RECEIVER) or top in {"cli", "pytest_plugin"}:
                continue
            if top not in {"tracking", "bulk", "simulator"} or not imported.startswith(RECEIVER + ".events"):
                wrong.append(f"{name} -> {imported}")

    assert wrong == []


@pytest.mark.parametrize("package", [SDK, RECEIVER, CORE])
def test_the_pure_column_does_no_io(package: str) -> None:
    """Modules of the pure column import no network, loop, thread or database library."""
    wrong: list[str] = []
    for name, path in sources(package):
        if {name, name.split(".", 1)[0]} & PURE[package] and name not in IMPURE:
            used = {i.split(".", 1)[0] for i in imports(path) - type_checking_imports(path)}
            wrong.extend(f"{name} -> {library}" for library in sorted(used & IO_LIBRARIES))

    assert wrong == []


@pytest.mark.parametrize("package", [RECEIVER, CORE])
def test_no_module_imports_itself_over_others(package: str) -> None:
    """There is no circle of imports, those for type checkers and those inside of functions included."""
    found = {f"{package}.{name}": path for name, path in sources(package) if name}
    arrows: dict[str, set[str]] = {}
    for name, path in found.items():
        targets = imports(path) & found.keys()
        # `from a.b import c` names the module `a.b.c` and, of `a.b`, nothing.
        arrows[name] = {one for one in targets if not any(other.startswith(f"{one}.") for other in targets)}

    # Modules that import no remaining module are taken away until only circles, and what needs them, remain.
    while free := {name for name, targets in arrows.items() if not targets & arrows.keys()}:
        arrows = {name: targets for name, targets in arrows.items() if name not in free}

    assert {name: targets & arrows.keys() for name, targets in arrows.items()} == {}


@pytest.mark.parametrize("package", [SDK, RECEIVER, CORE])
def test_no_module_is_longer_than_500_lines(package: str) -> None:
    """A module that needs more than 500 lines wants to be two."""
    long = {
        name: n for name, path in sources(package) if (n := len(path.read_text("utf-8").splitlines())) > 500
    }

    assert long == {}


def _depth(node: ast.AST, depth: int = 0) -> int:
    """Return how deep the statements of a function are nested; an `elif` is as deep as its `if`."""
    deepest = depth
    for child in ast.iter_child_nodes(node):
        chained = isinstance(node, ast.If) and isinstance(child, ast.If) and node.orelse == [child]
        deeper = isinstance(child, _BLOCKS) and not chained
        deepest = max(deepest, _depth(child, depth + deeper))
    return deepest


_BLOCKS = (ast.If, ast.For, ast.AsyncFor, ast.While, ast.Try, ast.With, ast.AsyncWith, ast.Match)


def test_the_functions_of_the_transport_are_read_at_a_glance() -> None:
    """What decides whether a request is sent twice has no function over 50 lines or 3 blocks deep."""
    wrong: list[str] = []
    for path in sorted((ROOT / SDK / "transport").glob("*.py")):
        for node in statements(path):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                lines = (node.end_lineno or 0) - node.lineno + 1
                if lines > 50 or _depth(node) > 3:
                    wrong.append(f"{path.name}: {node.name}: {lines} lines, {_depth(node)} deep")

    assert wrong == []


@pytest.mark.parametrize("package", [SDK, RECEIVER])
def test_no_imports_go_round_in_a_circle(package: str) -> None:
    """Nor those that only type checkers follow: a circle cannot be read from the bottom up."""
    modules = {f"{package}.{name}": path for name, path in sources(package) if name}
    # Importing a module runs the packages that it is in, whichever module asks: they are no arrow of its own.
    graph = {
        name: {found for found in imports(path) & set(modules) if not f"{name}.".startswith(f"{found}.")}
        for name, path in modules.items()
    }

    TopologicalSorter(graph).prepare()
