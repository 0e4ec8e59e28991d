"""The API server's own time, by which its objects have an age."""

from datetime import UTC, datetime
from pathlib import Path

import pytest
from aiohttp import web

from shared.errors import Transient
from tests.support.fake_api_server import fake_cluster


async def dated(date: str, directory: Path) -> datetime:
    """Ask an API server for its time that dates its responses so."""

    async def respond(_: web.Request) -> web.Response:
        return web.json_response({"metadata": {"uid": "u"}}, headers={"Date": date})

    async with fake_cluster(respond, directory, total_timeout=1) as (cluster, _):
        return await cluster.time()


async def test_a_response_tells_the_api_servers_time(tmp_path: Path) -> None:
    assert await dated("Thu, 29 Feb 2024 12:00:01 GMT", tmp_path) == datetime(2024, 2, 29, 12, 0, 1, tzinfo=UTC)


@pytest.mark.parametrize("date", ["soon", ""])
async def test_a_response_without_a_time_is_an_error(date: str, tmp_path: Path) -> None:
    with pytest.raises(Transient, match="what responds is no API server: its response has no date"):
        await dated(date, tmp_path)
