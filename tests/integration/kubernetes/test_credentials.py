"""The users of a kubeconfig whose tokens end: an exec plugin, a token file."""

import asyncio
import json
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from shared.adapters.kubernetes import tokens
from shared.adapters.kubernetes.kubeconfig import RENEW_AHEAD_SECONDS
from shared.errors import Unauthenticated, WrongRegistration
from tests.support.fake_api_server import fake_cluster, kubeconfig, status
from tests.support.polling import until

PLUGIN = """#!/bin/sh
cd "$(dirname "$0")"
[ "$1 $PLUGIN" = "get-token one" ] || exit 4
echo run >> runs
while [ -e held ]; do sleep 0.02; done
if [ -e broken ]; then echo "eyJ-secret of owner@example.com" >&2; exit 3; fi
echo '{"apiVersion": "client.authentication.k8s.io/v1", "kind": "ExecCredential", "status":'
echo "{\\"token\\": \\"token-$(wc -l < runs | tr -d ' ')\\" $(cat end)}}"
"""


@dataclass
class Plugin:
    """An exec plugin that gives another token each time, as `kubelogin get-token` and others do."""

    directory: Path
    user: dict[str, Any] = field(init=False)

    def __post_init__(self) -> None:
        script = self.directory / "plugin"
        script.write_text(PLUGIN)
        script.chmod(0o700)
        self.ends()
        called = {"command": str(script), "args": ["get-token"], "env": [{"name": "PLUGIN", "value": "one"}]}
        self.user = {"exec": {"apiVersion": "client.authentication.k8s.io/v1", **called}}

    @property
    def runs(self) -> int:
        """How often it was run."""
        runs = self.directory / "runs"
        return len(runs.read_text().splitlines()) if runs.exists() else 0

    def ends(self, seconds: float | None = None) -> None:
        """Let its tokens end so many seconds from now, or say nothing about their end."""
        end = datetime.fromtimestamp(time.time() + (seconds or 0), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        text = f', "expirationTimestamp": "{end}"' if seconds else ""
        (self.directory / "end").write_text(text)

    async def is_running(self) -> bool:
        return self.runs > 0


@pytest.fixture
def plugin(tmp_path: Path) -> Plugin:
    return Plugin(tmp_path)


def accepting(*accepted: str) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
    """Return how a server responds that accepts these tokens, and all if there are none."""

    async def respond(request: web.Request) -> web.StreamResponse:
        token = request.headers.get("Authorization", "").removeprefix("Bearer ")
        if token in accepted or not accepted:
            return web.json_response({"items": [], "metadata": {}})
        return status(401, "Unauthorized")

    return respond


async def test_a_refused_token_has_the_plugin_run_again(plugin: Plugin, tmp_path: Path) -> None:
    async with fake_cluster(accepting("token-2"), tmp_path, user=plugin.user) as (cluster, server):
        assert plugin.runs == 0  # connecting waits for no plugin
        await cluster.left_volumes()
        assert (plugin.runs, len(server.requests)) == (2, 2)
        server.respond = accepting("token-3")
        await asyncio.gather(*(cluster.left_volumes() for _ in range(20)))
        assert plugin.runs == 3


async def test_a_token_that_ends_has_the_plugin_run_before(plugin: Plugin, tmp_path: Path) -> None:
    plugin.ends(RENEW_AHEAD_SECONDS + 3600)
    async with fake_cluster(accepting(), tmp_path, user=plugin.user) as (cluster, server):
        for _ in range(3):
            await cluster.left_volumes()
        assert plugin.runs == 1
    plugin.ends(RENEW_AHEAD_SECONDS - 1)
    async with fake_cluster(accepting("token-2", "token-3"), tmp_path, user=plugin.user) as (cluster, server):
        await cluster.left_volumes()
        await cluster.left_volumes()

        async def runs_again() -> bool:
            return plugin.runs == 3

        await until(runs_again)
        assert len(server.requests) == 2  # none was refused


async def test_a_rotated_token_file_is_read_again(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("first\n")
    user = {"tokenFile": str(file), "token": "old"}
    async with fake_cluster(accepting("first"), tmp_path, user=user) as (cluster, server):
        await cluster.left_volumes()
        server.respond = accepting("second")
        file.write_text("second\n")
        await cluster.left_volumes()
        assert len(server.requests) == 1 + 2


async def test_a_rotated_kubeconfig_is_read_again(tmp_path: Path) -> None:
    async with fake_cluster(accepting("first"), tmp_path, user={"token": "first"}) as (cluster, server):
        await cluster.left_volumes()
        server.respond = accepting("second")
        [config] = tmp_path.glob("*.kubeconfig")
        config.write_text(config.read_text().replace('"first"', '"second"'))
        await cluster.left_volumes()


async def test_another_server_in_the_kubeconfig_gets_no_token_here(tmp_path: Path) -> None:
    async with fake_cluster(accepting("first"), tmp_path, user={"token": "first"}) as (cluster, server):
        await cluster.left_volumes()
        server.respond = accepting("none")
        [config] = tmp_path.glob("*.kubeconfig")
        elsewhere = json.dumps(kubeconfig("https://elsewhere.example.com", {"token": "elsewhere"}))
        config.write_text(elsewhere)
        with pytest.raises(WrongRegistration, match="the kubeconfig's context fake names another server"):
            await cluster.check()
        assert len(server.requests) == 2  # both with the first token


async def test_a_401_that_lasts_is_transient_and_shown(plugin: Plugin, tmp_path: Path) -> None:
    async with fake_cluster(accepting("none"), tmp_path, user=plugin.user) as (cluster, server):
        async with asyncio.timeout(5):
            with pytest.raises(Unauthenticated, match=r"does not accept berth's token \(401\)"):
                await cluster.left_volumes()
        assert (plugin.runs, len(server.requests)) == (2, 2)
        server.respond = accepting()
        await cluster.left_volumes()


@pytest.mark.parametrize("broken", ["exit", "missing", "certificate"])
async def test_a_plugin_that_fails_is_shown(
    plugin: Plugin, tmp_path: Path, caplog: pytest.LogCaptureFixture, broken: str
) -> None:
    texts = {"exit": "exec: process returned 3", "missing": "FileNotFoundError", "certificate": "exec: the plugin gave"}
    match broken:
        case "exit":
            (tmp_path / "broken").touch()
        case "missing":
            (tmp_path / "plugin").rename(tmp_path / "moved")
        case _:
            (tmp_path / "end").write_text(', "token": ""')
    async with fake_cluster(accepting(), tmp_path, user=plugin.user, total_timeout=0.5) as (cluster, server):
        with pytest.raises(Unauthenticated, match=f"context fake: {texts[broken]}") as raised:
            await cluster.left_volumes()
        assert not server.requests
    assert "eyJ" not in caplog.text + str(raised.value)


async def test_a_plugin_that_hangs_holds_up_nothing_else(
    plugin: Plugin, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tokens, "RENEWAL_TIMEOUT", 0.3)
    held = tmp_path / "held"
    held.touch()
    async with fake_cluster(accepting(), tmp_path, user=plugin.user, total_timeout=0.4) as (cluster, _):
        asking = asyncio.create_task(cluster.left_volumes())
        await until(plugin.is_running)  # the event loop goes on
        with pytest.raises(Unauthenticated, match="no token for the cluster: TimeoutError"):
            await asking
        held.unlink()
        monkeypatch.undo()
        await cluster.left_volumes()
        assert plugin.runs == 1
