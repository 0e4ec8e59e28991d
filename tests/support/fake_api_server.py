"""A small API server on loopback for what a real one does only when it is broken."""

import asyncio
import contextlib
import json
import ssl
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

from aiohttp import web

from shared.adapters.clock import SystemClock
from shared.adapters.kubernetes.access import connect
from shared.adapters.kubernetes.cluster import KubernetesApiCluster
from shared.domain.clusters import KubeconfigAccess
from shared.settings import KubernetesSettings
from tests.support.builders import TENANT_SETTINGS

type Respond = Callable[[web.Request], Awaitable[web.StreamResponse]]


class FakeApiServer:
    """Responds to each request as a function says.

    Attributes:
        respond: The function. It drops the connection with ConnectionError.
        requests: The method and path of each request so far.
    """

    def __init__(self, respond: Respond) -> None:
        self.respond = respond
        self.requests: list[str] = []
        self.url = ""
        self._runner: web.AppRunner | None = None
        self._connections: set[asyncio.Transport] = set()

    async def stop(self) -> None:
        """Stop listening: from now on, connections are refused."""
        assert self._runner is not None
        await self._runner.cleanup()

    @contextlib.asynccontextmanager
    async def serving(self, tls: ssl.SSLContext | None = None) -> AsyncGenerator[None]:
        """Listen on a free port of loopback within this context."""
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self._handle)
        self._runner = runner = web.AppRunner(app, access_log=None, handler_cancellation=True, shutdown_timeout=0.1)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls).start()
        self.url = f"http{'s' if tls else ''}://127.0.0.1:{runner.addresses[0][1]}"
        try:
            yield
        finally:
            for connection in self._connections:  # else those with TLS wait for the other side to agree
                connection.abort()
            await runner.cleanup()

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        self.requests.append(f"{request.method} {request.path}")
        connection = request.transport
        assert isinstance(connection, asyncio.Transport)
        self._connections.add(connection)
        try:
            return await self.respond(request)
        except ConnectionError:
            connection.abort()
            return web.Response()


@contextlib.asynccontextmanager
async def fake_cluster(
    respond: Respond, directory: Path, *, user: Mapping[str, Any] | None = None, **settings: Any
) -> AsyncGenerator[tuple[KubernetesApiCluster, FakeApiServer]]:
    """Give a cluster whose API server responds so, and that server.

    Args:
        respond: How it responds.
        directory: Where the kubeconfig is written.
        user: The user in the kubeconfig.
        settings: Fields of the settings.
    """
    server = FakeApiServer(respond)
    async with server.serving():
        config = directory / f"{server.url.rpartition(':')[2]}.kubeconfig"
        config.write_text(json.dumps(kubeconfig(server.url, user or {})))
        chosen = KubernetesSettings(kubeconfig=str(config), **settings)
        client = await connect(KubeconfigAccess("fake"), chosen)
        cluster = KubernetesApiCluster(client, chosen, SystemClock(), TENANT_SETTINGS.owner)
        try:
            yield cluster, server
        finally:
            await cluster.close()


def kubeconfig(server: str, user: Mapping[str, Any]) -> dict[str, Any]:
    """Return a kubeconfig with the one context `fake`."""
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "fake", "cluster": {"server": server}}],
        "users": [{"name": "fake", "user": dict(user)}],
        "contexts": [{"name": "fake", "context": {"cluster": "fake", "user": "fake"}}],
    }


def status(code: int, message: str) -> web.Response:
    """Return an error as an API server responds it."""
    body = {"kind": "Status", "status": "Failure", "code": code, "message": message}
    return web.json_response(body, status=code)
