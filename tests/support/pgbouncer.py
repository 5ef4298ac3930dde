"""A real PgBouncer in front of the server of the tests, in transaction mode, with few server connections."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.postgres_server import PostgresServer, unprivileged

__all__ = ["PgBouncer", "pgbouncer"]

_SECONDS = 30
_PORT = 6432  # only names the Unix socket
_SETTINGS = """
[databases]
* = host={server}
[pgbouncer]
listen_addr =
listen_port = {port}
unix_socket_dir = {folder}
auth_type = trust
auth_file = {folder}/users
pool_mode = transaction
default_pool_size = {size}
max_client_conn = 200
logfile = {folder}/log
"""


class PgBouncer:
    """A pooler that is started and stopped.

    Args:
        server: The server behind it.
        size: Maximum number of connections to the server for each database.
    """

    def __init__(self, server: PostgresServer, *, size: int = 5) -> None:
        program = shutil.which("pgbouncer") or shutil.which("pgbouncer", path="/usr/sbin")
        assert program is not None
        self.folder: Path = Path(tempfile.mkdtemp(prefix="pgb-", dir="/tmp"))
        settings = self.folder / "pgbouncer.ini"
        settings.write_text(_SETTINGS.format(server=server.folder, folder=self.folder, port=_PORT, size=size))
        (self.folder / "users").write_text('"postgres" ""\n')
        owner: dict[str, Any] = {}
        if os.geteuid() == 0:  # it refuses to run as root
            entry = unprivileged()
            owner = {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": []}
            os.chown(self.folder, entry.pw_uid, entry.pw_gid)
        self._process = subprocess.Popen(
            [program, "-q", settings], stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, **owner
        )
        deadline = time.monotonic() + _SECONDS
        while not (self.folder / f".s.PGSQL.{_PORT}").exists():
            assert self._process.poll() is None, "PgBouncer ended"
            assert time.monotonic() < deadline, "PgBouncer did not start"
            time.sleep(0.02)

    def __repr__(self) -> str:
        return f"<PgBouncer {self._process.pid}>"

    def url(self, direct: str) -> str:
        """Return the URL of a database by way of the pooler."""
        return f"{direct.partition('?')[0]}?host={self.folder}&port={_PORT}"

    def stop(self) -> None:
        """Stop it at once."""
        self._process.send_signal(signal.SIGTERM)
        self._process.wait(_SECONDS)
        if self._process.stderr is not None:
            self._process.stderr.close()
        shutil.rmtree(self.folder, ignore_errors=True)


@pytest.fixture
def pgbouncer(postgres: PostgresServer) -> Iterator[PgBouncer]:
    """A running pooler."""
    if not (shutil.which("pgbouncer") or shutil.which("pgbouncer", path="/usr/sbin")):
        pytest.skip("there is no PgBouncer: install the package `pgbouncer`")
    pooler = PgBouncer(postgres)
    yield pooler
    pooler.stop()
