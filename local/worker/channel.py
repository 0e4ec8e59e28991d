"""The stream between a host and a worker: one protobuf message after the other, each behind its length.

The real one is gRPC over loopback. A pair of connected sockets carries the same messages, needs no port and no secret,
and ends for both when either process does, however it goes.
"""

import asyncio
from typing import Any

from local.worker import protos

_LENGTH_BYTES = 4


async def receive(reader: asyncio.StreamReader) -> Any:
    """Return the next StreamingMessage, or None when the other end has gone."""
    try:
        length = int.from_bytes(await reader.readexactly(_LENGTH_BYTES))
        return protos.StreamingMessage.FromString(await reader.readexactly(length))
    except (asyncio.IncompleteReadError, ConnectionError):
        return None


async def send(writer: asyncio.StreamWriter, message: Any) -> None:
    """Send a StreamingMessage, whole and at once, so that others may send too; raises ConnectionError."""
    body = message.SerializeToString()
    writer.write(len(body).to_bytes(_LENGTH_BYTES) + body)
    await writer.drain()
