"""Free loopback ports, never the same ones for two stacks on one machine."""

import asyncio
import errno
import fcntl
import random
import socket
import tempfile
from pathlib import Path
from typing import TextIO

# Below the ports that Linux gives to outgoing connections (32768 and up), so that no connection can take a port between
# its choice and its use.
LOWEST, HIGHEST = 20_000, 29_999
_LEASES = Path(tempfile.gettempdir()) / "berth-ports"


class PortTakenError(Exception):
    """Another program uses a port. The message says what to do."""


class Ports:
    """Leases ports until `release`: a lease is a lock on a file named after the port."""

    def __init__(self) -> None:
        self._leases: list[TextIO] = []

    def take(self) -> int:
        """Return a port that nobody listens on and no other stack has leased."""
        _LEASES.mkdir(exist_ok=True)
        while True:
            port = random.randint(LOWEST, HIGHEST)  # noqa: S311 - not a secret
            lease = (_LEASES / str(port)).open("w")
            try:
                fcntl.flock(lease, fcntl.LOCK_EX | fcntl.LOCK_NB)
                with socket.socket() as probe:
                    probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                    probe.bind(("127.0.0.1", port))
            except OSError:
                lease.close()
                continue
            self._leases.append(lease)
            return port

    def release(self) -> None:
        """Release all ports."""
        for lease in self._leases:
            Path(lease.name).unlink(missing_ok=True)
            lease.close()
        self._leases.clear()


def bind(port: int) -> socket.socket:
    """Return a socket of loopback with that port, which does not listen yet; raises PortTakenError."""
    bound = socket.socket()
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # its last owner may have ended a moment ago
    try:
        bound.bind(("127.0.0.1", port))
    except OSError as error:
        bound.close()
        if error.errno != errno.EADDRINUSE:
            raise
        text = f"port {port} is used by another program: end that program, or choose another port"
        raise PortTakenError(text) from error
    return bound


async def listens(port: int) -> bool:
    """Whether a server listens on that port of loopback."""
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        return False
    writer.close()
    return True
