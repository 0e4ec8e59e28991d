"""The real Caddy with the waiting room's Caddyfile, in front of a stand-in for berth's app."""

from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from secrets import token_hex
from typing import Any

import httpx
from aiohttp import web

from local.ports import Ports
from local.processes import Processes
from local.waiting_room import serve_waiting_room
from tests.support.fake_api_server import FakeApiServer, Respond

DOMAIN = "rooms.localhost"
HOST = f"acme.{DOMAIN}"
BROWSER = {
    "Accept": "text/html,application/xhtml+xml,*/*;q=0.8",
    "User-Agent": "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0 Safari/537.36",
}
VISIT = {
    "host": HOST,
    "state": "opening",
    "percent": 40,
    "position": None,
    "message": "It is being opened.",
    "elapsed_seconds": 12,
    "retry_after": 3,
}


@dataclass
class Asked:
    """One question to the app."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes


def problem(status: int, **headers: str) -> Respond:
    """Return an app that refuses everything with a problem document."""

    async def respond(_: web.Request) -> web.Response:
        return web.json_response({}, status=status, content_type="application/problem+json", headers=headers)

    return respond


def told(**fields: Any) -> Respond:
    """Return an app that tells each visitor the same."""

    async def respond(_: web.Request) -> web.Response:
        visit = VISIT | fields
        headers = {"Retry-After": "3", "Berth-Visit-State": str(visit["state"]), "Set-Cookie": "ARRAffinity=x"}
        return web.json_response(visit, headers=headers)

    return respond


@dataclass
class WaitingRoom:
    """Caddy, and the stand-in that it asks.

    Attributes:
        respond: How the app responds.
        asked: What the app was asked so far.
    """

    url: str
    name: str
    http: httpx.AsyncClient
    asked: list[Asked] = field(default_factory=list[Asked])
    respond: Respond = field(default_factory=told)

    async def fetch(
        self,
        path: str = "/",
        *,
        method: str = "GET",
        host: str = HOST,
        headers: Mapping[str, str] | None = None,
        content: bytes | None = None,
    ) -> httpx.Response:
        """Send a request as the gateway passes it on."""
        sent = {**(headers or {}), "Host": host}
        return await self.http.request(method, self.url + path, headers=sent, content=content)


@asynccontextmanager
async def waiting_room(processes: Processes, ports: Ports, *, app: str = "") -> AsyncGenerator[WaitingRoom]:
    """Run a waiting room, with a stand-in for the app unless the HOST:PORT of one is given."""
    port, name = ports.take(), f"waiting-room-{token_hex(3)}"
    http = httpx.AsyncClient(trust_env=False, timeout=20, limits=httpx.Limits())
    room = WaitingRoom(f"http://127.0.0.1:{port}", name, http)

    async def respond(request: web.Request) -> web.StreamResponse:
        room.asked.append(Asked(request.method, request.raw_path, dict(request.headers), await request.read()))
        return await room.respond(request)

    server = FakeApiServer(respond)
    async with http, server.serving():
        where = {"domain": DOMAIN, "app": app or server.url.removeprefix("http://")}
        await serve_waiting_room(processes, name, **where, port=port, health_port=ports.take())
        try:
            yield room
        finally:
            await processes.stop(name)
