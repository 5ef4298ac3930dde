"""A real Postgres server for tests: made in a folder of its own, on a Unix socket, durable as by default.

`initdb` refuses to run as root, so the server of a test that runs as root belongs to `postgres` or `nobody`.
"""

from __future__ import annotations

import getpass
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

__all__ = ["PostgresServer", "binaries", "unprivileged"]

_SECONDS = 60


def binaries() -> Path | None:
    """Return the folder of `initdb` and `postgres`, of the newest version; None where there is none."""
    found = sorted(
        Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[-3].split(".")[0])
    )
    if found:
        return found[-1].parent
    command = shutil.which("initdb")
    return None if command is None else Path(command).resolve().parent


class PostgresServer:
    """A server that is started, stopped, killed and started again; `fsync` is on.

    Args:
        settings: Lines for `postgresql.conf`.
        source: Another server, of which this one is a standby.
        under: Command that runs the server as its child or in its place, such as that of a tracer.
    """

    def __init__(
        self,
        *,
        settings: Sequence[str] = (),
        source: PostgresServer | None = None,
        under: Sequence[str] = (),
    ) -> None:
        found = binaries()
        assert found is not None, "no server binaries"
        self._bin = found
        self.settings: list[str] = list(settings)
        self._source = source
        #: See the arguments; it may change before the next start.
        self.under: list[str] = list(under)
        # short, since the path of a socket has at most 107 bytes
        self.folder: Path = Path(tempfile.mkdtemp(prefix="pg-", dir="/tmp"))
        self.data: Path = self.folder / "data"
        self.log: Path = self.folder / "log"
        self._owner: dict[str, Any] = {}
        self.user: str = getpass.getuser()
        if os.geteuid() == 0:
            entry = unprivileged()
            self._owner = {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": []}
            os.chown(self.folder, entry.pw_uid, entry.pw_gid)
        self.user = "postgres"
        self._process: subprocess.Popen[bytes] | None = None

    def __repr__(self) -> str:
        return f"<PostgresServer {'running' if self.running else 'stopped'}>"

    @property
    def running(self) -> bool:
        """Whether the server process lives."""
        return self._process is not None and self._process.poll() is None

    @property
    def pid(self) -> int:
        """The id of the server process."""
        assert self._process is not None
        return self._process.pid

    def dsn(self, database: str = "postgres", user: str = "postgres") -> str:
        """Return the URL of a database of this server."""
        return f"postgresql://{user}@/{database}?host={self.folder}"

    def create(self) -> None:
        """Make the folder of the data."""
        if self._source is not None:
            self._run(
                "pg_basebackup",
                "-h",
                self._source.folder,
                "-U",
                "postgres",
                "-D",
                self.data,
                "-R",
                "-X",
                "stream",
                "-c",
                "fast",  # the checkpoint of a source that has work takes half a minute otherwise
            )
        else:
            make = ("initdb", "-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync")
            self._run(*make, "-D", self.data)
        lines = [
            "listen_addresses = ''",
            f"unix_socket_directories = '{self.folder}'",
            "max_connections = 120",
            "shared_buffers = 32MB",
            "max_wal_size = 256MB",
            *self.settings,
        ]
        with (self.data / "postgresql.conf").open("a", encoding="utf-8") as file:
            file.write("\n".join(lines) + "\n")

    def adopt(self) -> None:
        """Make files that this process put into the folder of the data those of the server."""
        (self.data / "postmaster.pid").unlink(missing_ok=True)
        self.data.chmod(0o700)
        if self._owner:
            for path in (self.data, *self.data.rglob("*")):
                os.chown(path, self._owner["user"], self._owner["group"])

    def start(self) -> None:
        """Start the server, and return when it takes connections."""
        if not self.data.exists():
            self.create()
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [*self.under, self._bin / "postgres", "-D", self.data],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self.folder,
                start_new_session=True,
                **self._owner,
            )
        deadline = time.monotonic() + _SECONDS
        ready: list[str | Path] = [self._bin / "pg_isready", "-q", "-h", self.folder]
        while subprocess.run(ready, check=False).returncode:
            assert self.running, self.log.read_text("utf-8", "replace")[-2000:]
            assert time.monotonic() < deadline, "the server did not start"
            time.sleep(0.02)

    def stop(self, how: str = "immediate") -> None:
        """Stop it: `fast` ends sessions in order, `immediate` is a crash after which the log is replayed."""
        if self._process is None:
            return
        if self.running:
            self._process.send_signal(signal.SIGINT if how == "fast" else signal.SIGQUIT)
        self._process.wait(_SECONDS)
        self._process = None

    def restart(self, how: str = "immediate") -> None:
        """Stop it and start it again."""
        self.stop(how)
        self.start()

    def promote(self) -> None:
        """Make a standby the primary."""
        self._run("pg_ctl", "promote", "-D", self.data, "-w")

    def remove(self) -> None:
        """Stop it and delete what it stored."""
        self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)

    def sql(self, statement: str, database: str = "postgres") -> str:
        """Run a statement as the superuser, and return what `psql` prints."""
        command: list[str | Path] = [
            "psql",
            "-h",
            self.folder,
            "-U",
            "postgres",
            "-d",
            database,
            "-Atq",
            "-c",
            statement,
        ]
        return self._run("psql", *command[1:])

    def dump(self, database: str) -> Path:
        """Write the tables of the project as statements, and return the file."""
        file = self.folder / f"{database}.sql"
        self._run(
            "pg_dump", "-h", self.folder, "-U", "postgres", "-n", "nexmo_dispatch", "-f", file, database
        )
        return file

    def load(self, dump: Path, database: str, *, first: str = "") -> None:
        """Run the statements of a dump in one transaction, after another statement."""
        where = ("-h", self.folder, "-U", "postgres", "-d", database)
        before = ("-c", first) if first else ()
        self._run("psql", *where, "-Xq1", "-v", "ON_ERROR_STOP=1", *before, "-f", dump)

    def cut(self, url: str) -> None:
        """End all sessions of a database, as a failover would."""
        name = url.partition("?")[0].rpartition("/")[2]
        self.sql(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'")

    def _run(self, program: str, *arguments: str | Path) -> str:
        done = subprocess.run(
            [self._bin / program, *arguments],
            check=False,
            capture_output=True,
            text=True,
            timeout=_SECONDS,
            cwd=self.folder,
            **self._owner,
        )
        assert done.returncode == 0, f"{program}: {done.stderr}"
        return str(done.stdout).strip()


def unprivileged() -> pwd.struct_passwd:
    """Return the account under which the server of a privileged user runs."""
    for name in ("postgres", "nobody"):
        try:
            return pwd.getpwnam(name)
        except KeyError:
            continue
    raise AssertionError("initdb refuses to run as root, and there is no account postgres or nobody")
