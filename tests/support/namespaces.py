"""Hosts of a test: network namespaces that a switch connects, each of which can be cut off and healed.

The switch is a bridge in a namespace of its own, so that no rules of the machine apply to it. It takes root,
and iproute2. A process beside this one removes all of it, also when this one is killed.
"""

from __future__ import annotations

import os
import secrets
import subprocess

from tests.support.nats_server import Place

__all__ = ["Namespaces", "NamespacesRefusedError"]

#: Addresses for tests of networks, which belong to no network: RFC 2544.
_NETWORK = "198.18"
#: What a kernel or a container says where it makes no namespaces, bridges or virtual cables.
_REFUSALS = ("Operation not permitted", "Permission denied", "not supported", "Unknown device type")

#: Ends with its input: then it removes a link, and namespaces with the processes in them.
_REMOVE = """cat >/dev/null; ip link delete $1; shift
for name in "$@"; do kill -9 $(ip netns pids $name); ip netns delete $name; done"""


class NamespacesRefusedError(Exception):
    """The machine lets this process make no network namespace."""


class Namespaces:
    """A number of hosts, and a link from this process to their switch.

    Args:
        hosts: Their number, 250 at most.
    """

    def __init__(self, hosts: int) -> None:
        self._name = f"nd{secrets.token_hex(3)}"
        self._subnet = f"{_NETWORK}.{1 + secrets.randbelow(254)}"
        self._hosts = hosts
        self._remover: subprocess.Popen[bytes] | None = None

    def __repr__(self) -> str:
        return f"<Namespaces {self._name}>"

    def place(self, number: int) -> Place:
        """Return where a server on a host runs."""
        return Place(f"{self._subnet}.{number + 2}", ("ip", "netns", "exec", self._host(number)))

    def make(self) -> None:
        """Make all of it.

        Raises:
            NamespacesRefusedError: It was refused; what was made is gone again.
        """
        try:
            self._remover = subprocess.Popen(
                ["sh", "-c", _REMOVE, "sh", self._name, self._switch, *map(self._host, range(self._hosts))],
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            )
            _ip("netns", "add", self._switch)
            self._in_switch("add", "name", "switch", "type", "bridge")
            self._in_switch("set", "switch", "up")
            self._connect("uplink", self._name, str(os.getpid()), 1)
            _ip("address", "add", f"{self._subnet}.1/24", "dev", self._name)
            _ip("link", "set", self._name, "up")
            for number in range(self._hosts):
                host = self._host(number)
                _ip("netns", "add", host)
                self._connect(f"port{number}", "out", host, number + 2)
                _ip("-n", host, "address", "add", f"{self._subnet}.{number + 2}/24", "dev", "out")
                for name in ("lo", "out"):
                    _ip("-n", host, "link", "set", name, "up")
        except (OSError, subprocess.CalledProcessError) as error:
            self.remove()
            words = (
                error.stderr.strip() if isinstance(error, subprocess.CalledProcessError) else "no iproute2"
            )
            raise NamespacesRefusedError(words) from None

    def cut(self, number: int) -> None:
        """Take the link of a host away: no packet gets there, and none comes from there."""
        self._in_switch("set", f"port{number}", "down")

    def heal(self, number: int) -> None:
        """Put the link of a host back."""
        self._in_switch("set", f"port{number}", "up")

    def remove(self) -> None:
        """End all processes on the hosts, and remove all that was made."""
        remover, self._remover = self._remover, None
        if remover is not None:
            remover.communicate(timeout=20)

    @property
    def _switch(self) -> str:
        return f"{self._name}-switch"

    def _host(self, number: int) -> str:
        return f"{self._name}-{number}"

    def _connect(self, port: str, end: str, where: str, number: int) -> None:
        """Lay a cable from a port of the switch to a namespace, which is named or that of a process."""
        mac = f"02:00:00:00:00:{number:02x}"
        self._in_switch("add", port, "type", "veth", "peer", "name", end, "address", mac, "netns", where)
        self._in_switch("set", port, "master", "switch", "up")

    def _in_switch(self, *words: str) -> None:
        _ip("-n", self._switch, "link", *words)


def _ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True, text=True, timeout=20)
