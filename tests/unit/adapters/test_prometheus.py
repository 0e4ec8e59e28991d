"""The adapter of Prometheus against a server on loopback that replays documented responses of its HTTP API."""

import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, cast

import pytest
from aiohttp import web
from azure.core.credentials import AccessToken
from azure.core.credentials_async import AsyncTokenCredential
from azure.core.exceptions import ClientAuthenticationError

from cli.api import Json
from shared.adapters import prometheus
from shared.adapters.prometheus import Prometheus
from shared.adapters.retry import RetryPolicy
from shared.application.ports.metrics import Sample
from shared.errors import BerthError, Permanent, Transient, Unreachable

AT = datetime(2015, 7, 1, 20, 10, 51, 781000, tzinfo=UTC)
# https://prometheus.io/docs/prometheus/latest/querying/api/#instant-queries
DOCUMENTED: Json = {
    "status": "success",
    "data": {
        "resultType": "vector",
        "result": [
            {"metric": {"__name__": "up", "job": "prometheus"}, "value": [1435781451.781, "1"]},
            {"metric": {"__name__": "up", "job": "node"}, "value": [1435781451.781, "0"]},
        ],
    },
}
EMPTY: Json = {"status": "success", "data": {"resultType": "vector", "result": []}}
SCALAR: Json = {"status": "success", "data": {"resultType": "scalar", "result": [1435781451.781, "1"]}}
BAD = {"status": "error", "errorType": "bad_data", "error": 'invalid parameter "query": parse error'}


@dataclass
class Server:
    """Replays responses, the last one for ever, and keeps what it was asked."""

    url: str = ""
    replies: list[tuple[int, str]] = field(default_factory=list[tuple[int, str]])
    asked: list[dict[str, str]] = field(default_factory=list[dict[str, str]])
    headers: list[dict[str, str]] = field(default_factory=list[dict[str, str]])

    def reply(self, document: Any, status: int = 200) -> None:
        self.replies.append((status, document if isinstance(document, str) else json.dumps(document)))

    async def handle(self, request: web.Request) -> web.Response:
        assert (request.method, request.path) == ("POST", "/api/v1/query")
        self.asked.append({name: str(value) for name, value in (await request.post()).items()})
        self.headers.append(dict(request.headers))
        status, text = self.replies.pop(0) if len(self.replies) > 1 else self.replies[0]
        return web.Response(text=text, status=status, content_type="application/json")


class Identity:
    """Gives tokens, or fails."""

    def __init__(self, error: Exception | None = None) -> None:
        self.scopes: list[str] = []
        self._error = error

    async def get_token(self, scope: str, **_: object) -> AccessToken:
        self.scopes.append(scope)
        if self._error is not None:
            raise self._error
        return AccessToken("secret-token", 0)


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    held, app = Server(), web.Application()
    app.router.add_route("*", "/{path:.*}", held.handle)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    held.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    yield held
    await runner.cleanup()


async def ask(url: str, identity: Identity | None = None, *, seconds: float = 0.0) -> prometheus.Result:
    """Ask once; with `seconds`, again for so long."""
    policy = RetryPolicy(total_timeout=seconds or 20.0, first_pause=0.01 if seconds else 1e9, max_pause=1e9)
    client = Prometheus(url, cast("AsyncTokenCredential", identity or Identity()), policy)
    try:
        return await client.query("up", AT)
    finally:
        await client.close()


async def test_a_vector_is_read(server: Server) -> None:
    server.reply(DOCUMENTED)
    result = await ask(server.url + "/")
    assert result.complete
    assert result.samples == [
        Sample({"__name__": "up", "job": "prometheus"}, 1.0),
        Sample({"__name__": "up", "job": "node"}, 0.0),
    ]
    assert server.asked == [{"query": "up", "time": "1435781451.781"}]
    assert "Authorization" not in server.headers[0]


async def test_nothing_is_no_error(server: Server) -> None:
    server.reply(EMPTY)
    assert list((await ask(server.url)).samples) == []


async def test_a_warning_says_that_something_may_be_missing(server: Server) -> None:
    server.reply(DOCUMENTED | {"warnings": ["remote read failed"], "infos": ["not a counter?"]})
    assert not (await ask(server.url)).complete
    server.replies = []
    server.reply(DOCUMENTED | {"infos": ["not a counter?"]})
    assert (await ask(server.url)).complete


@pytest.mark.parametrize(
    ("status", "document", "error", "text"),
    [
        (400, BAD, Permanent, "parse error"),
        (422, BAD | {"errorType": "execution"}, Permanent, "refuses the query: 422"),
        (401, "", Permanent, "Monitoring Data Reader"),
        (403, "<html>", Permanent, "Monitoring Data Reader"),
        (200, SCALAR, Permanent, "not one for a vector"),
        (503, BAD | {"errorType": "timeout"}, Transient, "responds 503"),
        (429, "", Transient, "responds 429"),
        (502, "<html>", Transient, "responds 502"),
        (200, "<html>", Transient, "not one of prometheus"),
        (200, "[]", Transient, "not one of prometheus"),
        (200, {"status": "success"}, Transient, "not one of prometheus"),
        (302, "", Transient, "not one of prometheus"),
    ],
)
async def test_what_is_no_result_is_an_error(
    server: Server, status: int, document: Any, error: type[BerthError], text: str
) -> None:
    server.reply(document, status)
    with pytest.raises(error, match=text):
        await ask(server.url)


async def test_what_may_work_later_is_tried_again(server: Server) -> None:
    server.reply("", 503)
    server.reply(EMPTY)
    assert list((await ask(server.url, seconds=20)).samples) == []
    assert len(server.asked) == 2


async def test_a_server_that_is_away_is_transient() -> None:
    with pytest.raises(Unreachable, match="prometheus does not respond"):
        await ask("http://127.0.0.1:9")


async def test_azure_monitor_gets_a_token(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prometheus, "MANAGED", "127.0.0.1")
    server.reply(EMPTY)
    identity = Identity()
    await ask(server.url, identity)
    assert identity.scopes == ["https://prometheus.monitor.azure.com/.default"]
    assert server.headers[0]["Authorization"] == "Bearer secret-token"
    with pytest.raises(Transient, match="no token for prometheus: ClientAuthenticationError") as caught:
        await ask(server.url, Identity(ClientAuthenticationError("secret-token")))
    assert "secret-token" not in str(caught.value)
