"""`python -m local.gateway`: the data plane of one local cluster."""

import argparse
import asyncio
import contextlib
import logging
import signal
import socket
from collections.abc import Generator
from pathlib import Path

import uvicorn
from starlette.types import ASGIApp

from local.gateway.api_server import ApiServer
from local.gateway.controller import Controller
from local.gateway.serving import RequestCounter, Source, TenantHosts, counters, redirect_to
from local.ports import PortTakenError, bind
from local.processes import ERROR

KEEP_ALIVE_SECONDS = 120  # longer than callers keep an idle connection, so that none is closed as they use it


class _Server(uvicorn.Server):
    """A server that leaves signals to `serve`."""

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None]:
        yield


async def serve(options: argparse.Namespace) -> None:
    """Follow the API server and serve until a signal; raises PortTakenError."""
    with contextlib.ExitStack() as stack:
        ports = options.https_port, options.http_port, options.metrics_port
        await _serve(options, [stack.enter_context(bind(port)) for port in ports])


async def _serve(options: argparse.Namespace, listeners: list[socket.socket]) -> None:
    api = ApiServer(options.kubeconfig)
    controller = Controller(api)
    counter = RequestCounter(Source(options.name, options.namespace))
    hosts = TenantHosts(controller.find, counter)
    tls = {"certificate": str(options.certificate), "key": str(options.key)}
    servers = [
        _server(hosts, **tls),
        _server(redirect_to(options.https_port)),
        _server(counters(counter, controller.ready.is_set)),
    ]
    ended = asyncio.Event()
    for name in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(name, ended.set)
    serving = [each.serve([listener]) for each, listener in zip(servers, listeners, strict=True)]
    coroutines = [ended.wait(), controller.run(), *serving]
    works = [asyncio.create_task(each) for each in coroutines]
    done, _ = await asyncio.wait(works, return_when=asyncio.FIRST_COMPLETED)
    for work in works:
        work.cancel()
    await asyncio.wait(works)
    await hosts.close()
    await api.close()
    for work in done:
        work.result()  # raises what has ended one of them


def _server(app: ASGIApp, **tls: str) -> _Server:
    return _Server(
        uvicorn.Config(
            app,
            access_log=False,
            log_config=None,
            lifespan="off",
            ws="none",
            server_header=False,
            date_header=False,
            timeout_keep_alive=KEEP_ALIVE_SECONDS,
            ssl_certfile=tls.get("certificate"),
            ssl_keyfile=tls.get("key"),
        )
    )


def main() -> None:
    """Read the command line and serve."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kubeconfig", type=Path, required=True, help="a kubeconfig as JSON")
    parser.add_argument("--certificate", type=Path, required=True, help="of all hosts")
    parser.add_argument("--key", type=Path, required=True, help="of the certificate")
    parser.add_argument("--https-port", type=int, required=True)
    parser.add_argument("--http-port", type=int, required=True, help="where each request is redirected to HTTPS")
    parser.add_argument("--metrics-port", type=int, required=True, help="of /metrics and /readyz")
    parser.add_argument("--name", required=True, help="the gateway's name in its metrics")
    parser.add_argument("--namespace", required=True, help="the gateway's namespace in its metrics")
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)-7s %(message)s")
    for name in ("httpx", "uvicorn"):
        logging.getLogger(name).setLevel(logging.WARNING)
    try:
        asyncio.run(serve(parser.parse_args()))
    except PortTakenError as error:
        raise SystemExit(f"{ERROR}{error}") from None


if __name__ == "__main__":
    main()
