"""`python -m local.worker DESCRIPTOR DIRECTORY`: run the app in a directory for the host at the other end of a socket.

Microsoft's worker library does the work: it indexes the app, decodes what comes in, calls functions and encodes what
they return. What Azure adds around it is a process that passes messages on, and this is one too.
"""

import asyncio
import os
import signal
import socket
import sys
import threading
from types import SimpleNamespace
from typing import Any

import azure_functions_runtime as library

from local.worker import log, protos
from local.worker.channel import receive, send

runtime: Any = library  # it has no types
_HANDLERS = {  # for each kind of request: the library's function, and the kind of its response
    "worker_init_request": (runtime.worker_init_request, "worker_init_response"),
    "functions_metadata_request": (runtime.functions_metadata_request, "function_metadata_response"),
    "invocation_request": (runtime.invocation_request, "invocation_response"),
}


async def serve(channel: socket.socket) -> None:
    """Respond to the host's requests, concurrently, until it goes."""
    runtime.start_threadpool_executor()  # in which functions run that are no coroutines
    reader, writer = await asyncio.open_unix_connection(sock=channel)
    async with asyncio.TaskGroup() as group:
        while (message := await receive(reader)) is not None:
            group.create_task(_respond(writer, message))
        os._exit(0)  # nobody is left to receive the responses of what still runs


async def _respond(writer: asyncio.StreamWriter, message: Any) -> None:
    handle, kind = _HANDLERS[message.WhichOneof("content")]
    request = SimpleNamespace(request=message, properties={"host": "127.0.0.1", "protos": protos})
    await send(writer, protos.StreamingMessage(request_id=message.request_id, **{kind: await handle(request)}))


def _end_with_the_host() -> None:
    """End when standard input does, whose other end the host holds; also while a function blocks the event loop."""
    os.read(0, 1)
    os._exit(0)


def main() -> None:
    """Read the command line and serve."""
    descriptor, directory = sys.argv[1:]
    for name in (signal.SIGTERM, signal.SIGINT):  # meant for the host, which lets end what runs here
        signal.signal(name, signal.SIG_IGN)
    threading.Thread(target=_end_with_the_host, daemon=True).start()
    log.configure()
    sys.path.insert(0, directory)
    asyncio.run(serve(socket.socket(fileno=int(descriptor))))


if __name__ == "__main__":
    main()
