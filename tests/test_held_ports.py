"""A port that a test has is its own before its server starts, and while that is stopped."""

import socket
import sys

import pytest

from tests.support.ports import HeldPort

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="a server could not take such a port")


def test_a_held_port_is_for_the_server_of_the_test_alone() -> None:
    """Connections to it are refused as long as no server listens, also between two of its servers."""
    with HeldPort() as port:
        address = ("127.0.0.1", port.number)
        for _ in range(2):
            with pytest.raises(ConnectionRefusedError):
                socket.create_connection(address, 20)
            with socket.socket() as other, pytest.raises(OSError, match="in use"):
                other.bind(address)
            with socket.create_server(address), socket.create_connection(address, 20):
                """The server takes it."""
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        other.bind(address)
