"""What a request gets whose worker does not respond in time, from the host's web application alone."""

import os
import signal
from pathlib import Path

import httpx
import pytest

from local.host.app import App
from local.host.http import web_app
from local.host.workers import Workers
from local.worker import protos
from tests.integration.host.hosts import APP, KEYS, ROOT
from tests.support.polling import until


async def test_a_request_of_a_silent_worker_is_a_502(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NOTES", str(tmp_path / "notes"))
    monkeypatch.setenv("TICK", "0 0 0 1 1 *")
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    inputs = {"durableClient": protos.TypedData(string="{}")}
    async with Workers(APP, 1, inputs) as workers:
        web = web_app(App.read(APP), workers, KEYS, lambda _: False, response_seconds=1)
        async with httpx.AsyncClient(transport=httpx.ASGITransport(web), base_url="http://host") as http:
            process = int((await http.get("v1/process")).text)
            os.kill(process, signal.SIGSTOP)
            assert (await http.get("v1/process")).status_code == 502
            os.kill(process, signal.SIGCONT)

            async def responds() -> bool:
                return (await http.get("v1/process")).status_code == 200

            await until(responds)
