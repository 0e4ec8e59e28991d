"""`python -m local.host`: serve a function app directory."""

import argparse
import asyncio
import contextlib
import logging
import os
import secrets
import signal
import socket
from collections.abc import Coroutine, Generator
from pathlib import Path

import uvicorn

from local.host.app import App, SettingMissingError
from local.host.durable import DRAIN_SECONDS, DurableWork, client_configuration
from local.host.http import read_keys, web_app
from local.host.timers import Timers
from local.host.worker import AppRefusedError, WorkerLostError
from local.host.workers import Workers
from local.ports import PortTakenError, bind
from local.processes import ERROR
from local.worker import log, protos

KEEP_ALIVE_SECONDS = 120  # longer than callers keep an idle connection, so that none is closed as they use it

logger = logging.getLogger("host")


class _Server(uvicorn.Server):
    """A server that leaves signals to the host."""

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None]:
        yield


async def serve(
    directory: Path, port: int, task_hub: str, keys: dict[str, str], *, count: int, redelivery: float
) -> None:
    """Run the host with its workers until a signal; what is running then gets five seconds."""
    app = App.read(directory)
    inputs = {"durableClient": protos.TypedData(string=client_configuration(app, task_hub))}
    with bind(port) as listener, _exporting(app):
        async with Workers(directory, count, inputs) as workers:
            await _serve(app, workers, DurableWork(app, workers, task_hub, redelivery), listener, keys)


def _exporting(app: App) -> contextlib.AbstractContextManager[None]:
    """Export the host's spans meanwhile, if host.json and the app settings say so."""
    if not app.has_open_telemetry or not os.environ.get("APPLICATIONINSIGHTS_CONNECTION_STRING"):
        return contextlib.nullcontext()
    from local.host.exporting import exporting  # the exporter takes a while to load

    return exporting()


async def _serve(app: App, workers: Workers, work: DurableWork, listener: socket.socket, keys: dict[str, str]) -> None:
    timers = Timers(workers)
    web = web_app(app, workers, keys, timers.fire)
    server = _Server(
        uvicorn.Config(
            web,
            access_log=False,
            log_config=None,
            backlog=4096,
            timeout_keep_alive=KEEP_ALIVE_SECONDS,
            timeout_graceful_shutdown=DRAIN_SECONDS,
        )
    )
    loop = asyncio.get_running_loop()
    ended = asyncio.Event()
    for name in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(name, ended.set)
    serving = asyncio.create_task(server.serve([listener]))
    working = asyncio.create_task(_all(timers.run(), work.run(), ended.wait()))
    where = listener.getsockname()[1]
    logger.info("%s: %d functions on http://127.0.0.1:%d", app.directory.name, len(workers.functions), where)
    waiting = asyncio.create_task(ended.wait())
    await asyncio.wait([waiting, serving, working], return_when=asyncio.FIRST_COMPLETED)
    working.cancel()
    server.should_exit = True
    with contextlib.suppress(asyncio.CancelledError):
        await working
    await serving


async def _all(*works: Coroutine[None, None, object]) -> None:
    """End when all have ended, which those that an app has no use for do at once, or when one of them fails."""
    async with asyncio.TaskGroup() as group:  # which, unlike gather, lets all end in order when it is cancelled
        for work in works:
            group.create_task(work)


def main() -> None:
    """Read the command line and serve."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--app", type=Path, required=True, help="directory of function_app.py and host.json")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--task-hub", required=True, help="HOST:PORT")
    parser.add_argument("--keys", type=Path, help="JSON file with the fields master and default; else they are random")
    parser.add_argument("--workers", type=int, default=1, help="how many processes run the app (1)")
    parser.add_argument(
        "--redelivery",
        type=float,
        default=0.0,
        help="seconds until the work of a dead or stopped worker comes back (0)",
    )
    options = parser.parse_args()
    log.configure()
    keys = read_keys(options.keys.read_text()) if options.keys else {"master": secrets.token_urlsafe(32)}
    keys.setdefault("default", secrets.token_urlsafe(32))
    try:
        count, redelivery = options.workers, options.redelivery
        asyncio.run(
            serve(options.app.resolve(), options.port, options.task_hub, keys, count=count, redelivery=redelivery)
        )
    except (AppRefusedError, PortTakenError, SettingMissingError, WorkerLostError) as error:
        raise SystemExit(f"{ERROR}{error}") from None


if __name__ == "__main__":
    main()
