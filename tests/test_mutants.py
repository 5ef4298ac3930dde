"""Promises of `make mutants`: what it changes, what counts as noticed, and that the work tree stays."""

from pathlib import Path

import pytest

from tests.support.mutants.measure import Equivalent, load_equivalents, measure
from tests.support.mutants.operators import mutants_of, sample
from tests.support.mutants.targets import TARGETS, Target
from tests.support.mutants.trial import OPTIONS, BrokenTestsError, Tree
from tests.support.paths import ROOT

# The tool forks a process that has one thread. A worker of pytest-xdist has one more, which waits for its
# socket and holds no lock that the child would need; Python from 3.12 on warns of any second thread.
pytestmark = pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")

TOY = '''"""A toy."""


def is_adult(age: int) -> bool:
    """Return whether the age is at least 18."""
    return age >= 18
'''
CHECK = """from toy import is_adult


def test_adult() -> None:
    assert is_adult(18)
    assert not is_adult(16)
"""
TARGET = Target("toy.py", ("test_toy.py",), ())
# What this environment adds to pytest is none of the toy's: it takes most of the time.
WITHOUT = (
    *("faker", "schemathesis", "randomly", "xdist", "asyncio", "anyio", "nexmo-dispatch", "timeout"),
    *("unraisableexception", "threadexception"),
)
TOY_OPTIONS = (*OPTIONS, "-Wignore::pytest.PytestUnknownMarkWarning", *(f"-pno:{name}" for name in WITHOUT))


def changes(source: str) -> list[tuple[str, str]]:
    return [mutant[2:4] for mutant in mutants_of(source)]


@pytest.fixture
def toy(tmp_path: Path) -> Path:
    folder = tmp_path / "toy"
    folder.mkdir()
    (folder / "toy.py").write_text(TOY, "utf-8")
    (folder / "test_toy.py").write_text(CHECK, "utf-8")
    return folder


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("a < b", ["(a <= b)"]),
        ("a is not None", ["(a is None)"]),
        ("x = a and b", ["x = (a or b)", "x = (b)", "x = (a)"]),
        ("x = not a", ["x = (a)"]),
        ("x = 1", ["x = 2"]),
        ("x = True", ["x = False"]),
        ("x = 'word'", ["x = 'XXword'"]),
        ("x = b''", ["x = b'XX'"]),
        ("x = a - b", ["x = (a + b)"]),
        ("x += a", ["x -= a"]),
        ("x = max(a, b)", ["x = min(a, b)"]),
        ("f()", ["pass"]),
        ("x = f(a, b=c)", ["x = f(a)"]),
        ("if a: b", ["if False: b", "if True: b"]),
        ("x = [a for a in b if a]", ["x = [a for a in b if True]"]),
        ("é = 'é' < a", ["é = ('é' <= a)", "é = 'XXé' < a"]),
    ],
)
def test_each_kind_of_change(source: str, expected: list[str]) -> None:
    """A comparison, a boolean, a constant, a short text, a condition, and a call or an argument left out."""
    assert [new for _, new in changes(source)] == [*expected]


def test_a_returned_value_becomes_none() -> None:
    """The place of a change is the class and the function around it."""
    (mutant,) = mutants_of("class A:\n    def b(self):\n        return self\n")

    assert mutant[:4] == (3, "A.b", "return self", "return None")


@pytest.mark.parametrize(
    "source",
    [
        '"""Text."""',
        "x: Literal['a'] = y",
        "X = Literal['a', 'b']",
        "def f(x: 'A' = y) -> 'B': pass",
        "_log.warning('a', extra=b)",
        "x = 'a text for people'",
        "x = f'{a < b}'",
        "__all__ = ['a']",
        "x = cast('A', y)",
        "if TYPE_CHECKING: import a",
    ],
)
def test_what_is_written_for_people_and_type_checkers_stays(source: str) -> None:
    """A change of it breaks no promise."""
    assert changes(source) == []


def test_a_sample_is_the_same_each_time_and_survives_edits_elsewhere() -> None:
    """An explanation stays in use while other functions of its module change."""
    every = mutants_of(TOY)
    edited = mutants_of(TOY + "\n\nOTHER = 5\n")

    assert sample(every, 2, seed=1) == sample(every, 2, seed=1)
    assert {it[1:4] for it in sample(edited, 3, seed=1)} <= {it[1:4] for it in [*every, edited[-1]]}
    assert len({tuple(sample(every, 1, seed=seed)) for seed in range(20)}) > 1


def test_a_change_is_killed_survives_or_is_explained(toy: Path, tmp_path: Path) -> None:
    """One process for each; the work tree keeps its text."""
    (toy / "test_toy.py").write_text(CHECK.replace("18", "20"), "utf-8")
    tree = Tree(toy, tmp_path / "copy", ("toy", "test_toy"), options=TOY_OPTIONS)
    explained = [Equivalent("toy.py", "is_adult", "return age >= 18", "return (age > 18)", "no promise")]

    result = measure(tree, TARGET, explained, count=60, seed=1)

    assert result[:4] == ("toy.py", 3, 1, 1)
    assert f"{result.share:.2f} {result.is_good}" == "0.50 False"
    assert str(result).endswith("toy.py:6 is_adult\n    - return age >= 18\n    + return age >= 19")
    assert (toy / "toy.py").read_text("utf-8") == TOY
    assert (tree.copy / "toy.py").read_text("utf-8") == TOY


def test_what_survives_the_mirror_is_tried_on_the_wider_list(toy: Path, tmp_path: Path) -> None:
    """Whose tests also have to pass without a change."""
    (toy / "test_wide.py").write_text(CHECK, "utf-8")
    (toy / "test_toy.py").write_text("import toy\n\n\ndef test_nothing() -> None: ...\n", "utf-8")
    tree = Tree(toy, tmp_path / "copy", ("toy", "test_toy", "test_wide"), options=TOY_OPTIONS)

    result = measure(tree, TARGET._replace(wider=("test_wide.py",)), [], count=60, seed=1)

    assert (result.killed, result.survivors) == (3, [])


def test_an_explanation_that_is_untrue_fails(toy: Path, tmp_path: Path) -> None:
    """Of a change that a test notices, and of code that is no longer there."""
    tree = Tree(toy, tmp_path / "copy", ("toy", "test_toy"), options=TOY_OPTIONS)
    noticed = Equivalent("toy.py", "is_adult", "return age >= 18", "return (age > 18)", "no promise")
    stale = Equivalent("toy.py", "is_adult", "return age >= 17", "return (age > 17)", "no promise")

    result = measure(tree, TARGET, [noticed, stale], count=60, seed=1)

    assert (result.killed, result.share, result.is_good) == (3, 1.0, False)
    assert [it.partition(":")[0].strip() for it in result.problems] == [
        "explains no change",
        "explained, and yet a test notices it",
    ]


@pytest.mark.long
def test_an_endless_change_is_killed_by_its_limit(toy: Path, tmp_path: Path) -> None:
    """The limit is of the process's own time, so that a busy machine kills nothing."""
    tree = Tree(toy, tmp_path / "copy", ("toy", "test_toy"), options=TOY_OPTIONS)
    tree.write("toy.py", "while True: pass")

    assert not tree.passes(("test_toy.py",), cpu=0)


@pytest.mark.parametrize(
    ("test", "message"), [("def test_a(): assert 0", "fails"), ("def test_a(): pass", "no toy")]
)
def test_tests_that_prove_nothing_are_refused(toy: Path, tmp_path: Path, test: str, message: str) -> None:
    """They fail without a change, or never import the module."""
    (toy / "test_toy.py").write_text(test, "utf-8")
    tree = Tree(toy, tmp_path / "copy", ("toy", "test_toy"), options=TOY_OPTIONS)

    with pytest.raises(BrokenTestsError, match=message):
        tree.prepare("toy.py", ("test_toy.py",))


def test_the_table_names_files_and_the_list_names_its_modules() -> None:
    """Each module once, each test file there; each explanation is of a change of a module of the table."""
    names = [target.module for target in TARGETS]
    listed = load_equivalents(ROOT / "tests" / "support" / "mutants" / "equivalents.toml")

    assert len(set(names)) == len(names)
    for target in TARGETS:
        assert [it for it in (target.module, *target.mirror, *target.wider) if not (ROOT / it).exists()] == []
    assert {it.module for it in listed} <= set(names)
    for module in {it.module for it in listed}:
        every = {it[1:4] for it in mutants_of((ROOT / module).read_text("utf-8"))}
        assert [it for it in listed if it.module == module and (it.place, it.old, it.new) not in every] == []
