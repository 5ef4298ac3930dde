"""Runs tests on a copy of the repository in which one module may be another."""

from __future__ import annotations

import os
import resource
import shutil
import signal
import sys
from contextlib import suppress
from importlib import import_module
from multiprocessing import get_context
from pathlib import Path
from typing import NoReturn

__all__ = ["OPTIONS", "BrokenTestsError", "Tree"]

#: The options of pytest: the first failure is enough, no test starts a server, chance is the same each time.
OPTIONS = ("-xq", "--tb=short", "-pno:cacheprovider", "--hypothesis-seed=0", "-mnot long and not engines")

# Modules that the parent imports before the fork count as imported late for pytest's rewriting of assertions.
_LATE = ("-W", "ignore::pytest.PytestAssertRewriteWarning")
_LEFT_OUT = (".git", ".venv*", ".*_cache", ".hypothesis", "__pycache__", "site", "dist", "build", "soak")
_FORK = get_context("fork")


class BrokenTestsError(Exception):
    """Tests fail on the code as it is, or do not run on the copy."""


class Tree:
    """A copy of a repository.

    Args:
        root: The folder of the repository, of which nothing is changed.
        copy: The folder of the copy, which does not exist yet.
        packages: The names of the packages that are imported from the copy alone.
        paths: The folders below the repository from which modules are imported.
        options: The options of pytest.
    """

    def __init__(
        self,
        root: Path,
        copy: Path,
        packages: tuple[str, ...],
        paths: tuple[str, ...] = ("",),
        options: tuple[str, ...] = OPTIONS,
    ) -> None:
        shutil.copytree(root, copy, ignore=shutil.ignore_patterns(*_LEFT_OUT))
        self.copy, self.packages, self.options = copy, packages, (*options, *_LATE)
        self.paths = [str(copy / path) for path in paths]
        self.output = copy / "mutants-output.txt"
        self._now = 1_000_000_000

    def write(self, module: str, source: str) -> None:
        """Replace the text of a module; the time of the file is new, so that no compiled one stays."""
        self._now += 1
        path = self.copy / module
        path.write_text(source, "utf-8")
        os.utime(path, (self._now, self._now))

    def prepare(self, module: str, tests: tuple[str, ...]) -> float:
        """Run tests on the code as it is; return the seconds of CPU.

        They run twice: the libraries that they use are imported here in between, so that later runs are fast.

        Raises:
            BrokenTestsError: A test fails, or the module is not imported from the copy.
        """
        names = self.copy / "mutants-imported.txt"
        self._expect(tests, names)
        files = dict(line.split("\t") for line in names.read_text("utf-8").splitlines())
        if str(self.copy / module) not in files.values():
            raise BrokenTestsError(f"{' '.join(tests)} imports no {module} from {self.copy}")
        for name, file in files.items():
            if not file.startswith(str(self.copy)) and name not in sys.modules:
                with suppress(ImportError):
                    import_module(name)
        before = _cpu()
        self._expect(tests, None)
        return _cpu() - before

    def _expect(self, tests: tuple[str, ...], imported: Path | None) -> None:
        if not self.passes(tests, cpu=600, imported=imported):
            output = self.output.read_text("utf-8")
            raise BrokenTestsError(f"{' '.join(tests)} fails without a change:\n{output}")

    def passes(self, tests: tuple[str, ...], *, cpu: float, imported: Path | None = None) -> bool:
        """Return whether the tests pass in a process of their own, within `cpu` seconds of CPU."""
        child = _FORK.Process(target=self._run, args=(tests, int(cpu) + 1, imported))
        child.start()
        try:
            child.join(60 + 10 * cpu)
        finally:
            child.kill()
            if child.pid is not None:
                with suppress(ProcessLookupError):
                    os.killpg(child.pid, signal.SIGKILL)  # what the tests started and left
        child.join()
        return child.exitcode == 0

    def _run(self, tests: tuple[str, ...], cpu: int, imported: Path | None) -> NoReturn:
        code = 70
        try:
            os.setsid()
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            resource.setrlimit(resource.RLIMIT_CPU, (cpu, cpu + 5))
            with self.output.open("wb") as output:
                os.dup2(output.fileno(), 1)
                os.dup2(output.fileno(), 2)
            sys.stdout = sys.stderr = os.fdopen(1, "w")
            os.chdir(self.copy)
            os.environ["PYTHONPATH"] = os.pathsep.join(self.paths)  # for the processes that tests start
            sys.path[:0] = self.paths
            sys.dont_write_bytecode = False  # or each run would compile both packages
            for name in list(sys.modules):
                if name.partition(".")[0] in self.packages:
                    del sys.modules[name]
            import pytest

            code = int(pytest.main([*self.options, *tests]))
            if imported is not None:
                files = {name: getattr(each, "__file__", None) for name, each in sys.modules.items()}
                lines = "".join(f"{name}\t{file}\n" for name, file in files.items() if file)
                imported.write_text(lines, "utf-8")
            sys.stdout.flush()
        finally:
            os._exit(code)


def _cpu() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime
