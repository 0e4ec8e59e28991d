"""An HTTP proxy in front of the API server or the table server that can do to a request whatever a network can."""

import asyncio
import re
import ssl
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import aiohttp
from aiohttp import web
from yarl import URL

HOP_BY_HOP = {"connection", "keep-alive", "transfer-encoding", "content-length", "host", "upgrade", "te"}
WRITES = {"POST", "PUT", "PATCH", "DELETE", "MERGE"}
FOREVER = aiohttp.ClientTimeout(total=None)
OURS_ONLY = {"Content-Type", "Accept", "User-Agent"}  # a signature covers what the caller sent
SLUG = re.compile(rb"(?<![a-z0-9])t[0-9a-f]{12}(?![0-9a-f])")  # as `new_slug` makes them
# An instance's id in a label, a row or a row key, and in the path of a namespace.
INSTANCE = re.compile(rb"(?:instance(?:\W{1,12}|%3A)|tenant-)([0-9a-hjkmnp-tv-z]{10})(?![0-9a-z])")


@dataclass(frozen=True)
class Exchange:
    """One request on its way.

    `slug` is the tenant that it is about, or empty; `number` says which of that tenant's writes since
    the proxy's last reset it is, from 1, and is 0 for what is no write. `port` is the caller's end of the connection.
    `body` is what the caller sent.
    """

    method: str
    path: str
    slug: str
    number: int
    port: int
    body: bytes = b""

    @property
    def is_watch(self) -> bool:
        return "watch=" in self.path


type Hook = Callable[[Exchange], Awaitable[web.Response | None]]


async def nothing(_: Exchange) -> web.Response | None:
    return None


class FaultProxy:
    """Passes everything on, and asks a hook before and another one after each request.

    A hook that returns a response has it sent in place of the real one; one that raises ConnectionError has the
    connection dropped without an answer. So a write can be refused (before), or done and its answer lost (after).
    """

    def __init__(
        self, upstream: str, *, tls: ssl.SSLContext | None = None, upstream_tls: ssl.SSLContext | None = None
    ) -> None:
        self.before: Hook = nothing
        self.after: Hook = nothing
        self.requests = 0
        self.writes = 0
        self.bytes = 0  # of the answers that were passed on
        self.requests_of: Counter[str] = Counter()
        self.writes_of: Counter[str] = Counter()
        self._slugs: dict[bytes, str] = {}  # by instance
        self._watches: set[asyncio.Transport] = set()
        self._upstream = upstream.rstrip("/")
        self._tls = tls
        self._upstream_tls = upstream_tls
        self._runner: web.AppRunner | None = None
        self._session: aiohttp.ClientSession | None = None

    async def start(self, port: int) -> str:
        """Listen on loopback and return the address."""
        app = web.Application(client_max_size=64 << 20)
        app.router.add_route("*", "/{path:.*}", self._handle)
        self._runner = web.AppRunner(app, access_log=None, handler_cancellation=True)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", port, ssl_context=self._tls, backlog=1024).start()
        connector = aiohttp.TCPConnector(limit=0, ssl=self._upstream_tls or True)
        self._session = aiohttp.ClientSession(connector=connector, auto_decompress=False)
        return f"http{'s' if self._tls else ''}://127.0.0.1:{port}"

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()
        if self._runner is not None:
            await self._runner.cleanup()

    def pass_everything(self) -> None:
        """Pass everything on again."""
        self.before = self.after = nothing

    def reset(self) -> None:
        """Pass everything on again and count from zero."""
        self.pass_everything()
        self.requests = self.writes = self.bytes = 0
        self.requests_of.clear()
        self.writes_of.clear()

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        body = await request.read()
        exchange = self._count(request, body)
        try:
            instead = await self.before(exchange)
            if instead is not None:
                return instead
            return await self._pass_on(request, exchange, body)
        except (ConnectionError, aiohttp.ClientError):
            if request.transport is not None:
                request.transport.abort()
            return web.Response()

    def drop_watches(self) -> None:
        """Break off all watches that are open."""
        for connection in list(self._watches):
            connection.abort()

    def _count(self, request: web.Request, body: bytes) -> Exchange:
        slug = self._slug_of(request.raw_path.encode() + b" " + body)
        self.requests += 1
        self.requests_of[slug] += 1
        # A host's first request to each table makes sure that the table is there; and timers write at any time.
        by_nobody = request.raw_path.endswith("/Tables") or b"/reconciliations(" in body
        is_write = request.method in WRITES and not by_nobody
        if is_write:
            self.writes += 1
            self.writes_of[slug] += 1
        port = request.transport.get_extra_info("peername")[1] if request.transport else 0
        return Exchange(request.method, request.raw_path, slug, self.writes_of[slug] if is_write else 0, port, body)

    def _slug_of(self, text: bytes) -> str:
        """Return the tenant that a request is about: by its slug, or by an instance that was named beside it before."""
        slug, instances = SLUG.search(text), INSTANCE.findall(text)
        if slug is None:
            return next((self._slugs[each] for each in instances if each in self._slugs), "")
        self._slugs |= dict.fromkeys(instances, slug[0].decode())
        return slug[0].decode()

    async def _pass_on(self, request: web.Request, exchange: Exchange, body: bytes) -> web.StreamResponse:
        assert self._session is not None
        headers = {name: value for name, value in request.headers.items() if name.lower() not in HOP_BY_HOP}
        # To the letter: callers of the table service sign the path.
        url = URL(f"{self._upstream}{request.raw_path}", encoded=True)
        async with self._session.request(
            request.method, url, headers=headers, data=body or None, timeout=FOREVER, skip_auto_headers=OURS_ONLY
        ) as answer:
            passed = {name: value for name, value in answer.headers.items() if name.lower() not in HOP_BY_HOP}
            if exchange.is_watch:
                stream = web.StreamResponse(status=answer.status, headers=passed)
                await stream.prepare(request)
                assert isinstance(request.transport, asyncio.Transport)
                self._watches.add(request.transport)
                try:
                    async for chunk in answer.content.iter_any():
                        self.bytes += len(chunk)
                        await stream.write(chunk)
                finally:
                    self._watches.discard(request.transport)
                return stream
            content = await answer.read()
            self.bytes += len(content)
        instead = await self.after(exchange)
        return instead or web.Response(status=answer.status, headers=passed, body=content)


async def never(_: Exchange) -> web.Response | None:
    """A hook that answers nothing at all, as a network that swallows packets."""
    await asyncio.sleep(3600)
    return None
