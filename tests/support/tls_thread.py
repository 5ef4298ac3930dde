"""A TLS server in a thread that does its handshakes as OpenSSL does: it writes the alert before it closes.

(asyncio's own server closes without one.)
"""

from __future__ import annotations

import socket
import ssl
import threading
import time
from types import TracebackType
from typing import Self

from tests.support.misbehaving import ACCEPTED, reply


class TlsThread:
    """`with TlsThread(context) as server`: accepts each workflow whose sender it trusts.

    Args:
        context: Its settings.
        delay: Seconds between the connection and the handshake.
    """

    def __init__(self, context: ssl.SSLContext, delay: float = 0.0) -> None:
        self.requests = 0
        self.connections = 0
        self._context = context
        self._delay = delay
        self._socket = socket.create_server(("127.0.0.1", 0))
        self._thread = threading.Thread(target=self._accept, daemon=True)

    @property
    def url(self) -> str:
        return f"https://localhost:{self._socket.getsockname()[1]}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # Closing it does not end an accept(); this does.
        self._socket.shutdown(socket.SHUT_RDWR)
        self._thread.join(10)
        self._socket.close()

    def _accept(self) -> None:
        while True:
            try:
                raw, _ = self._socket.accept()
            except OSError:
                return
            self.connections += 1
            raw.settimeout(5)
            time.sleep(self._delay)
            try:
                with self._context.wrap_socket(raw, server_side=True) as connection:
                    self._serve(connection)
            except OSError:
                raw.close()

    def _serve(self, connection: ssl.SSLSocket) -> None:
        data = b""
        while b"\r\n\r\n" not in data or not data.endswith(b"}"):
            received = connection.recv(65536)
            if not received:
                return
            data += received
        self.requests += 1
        connection.sendall(reply(202, ACCEPTED, {"Connection": "close"}))
