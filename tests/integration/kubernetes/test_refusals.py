"""What berth tells of a refusal: not what it had sent, which a webhook may quote."""

from pathlib import Path

import pytest
from aiohttp import web

from shared.adapters.kubernetes.ownership import INSTANCE, OWNER
from shared.errors import Permanent
from tests.support.builders import TENANT_SETTINGS
from tests.support.fake_api_server import fake_cluster, status

LABELS = {OWNER: TENANT_SETTINGS.owner, INSTANCE: "one"}


@pytest.mark.parametrize("part", ["data", "stringData"])
async def test_a_refusal_quotes_nothing_that_was_sent(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, part: str
) -> None:
    async def refuse(request: web.Request) -> web.Response:
        return status(400, f'webhook denied "Ada Lovelace" of owner@example.com: {await request.text()}')

    kind = "ConfigMap" if part == "data" else "Secret"
    found = {"name": "tenant", "namespace": "tenant-one", "labels": LABELS}
    sent = {
        "apiVersion": "v1",
        "kind": kind,
        "metadata": found,
        part: {"NAME": "Ada Lovelace", "KEY": "259f63"},
    }
    async with fake_cluster(refuse, tmp_path) as (cluster, _):
        with pytest.raises(Permanent) as error:
            await cluster.apply([sent])
    for text in (str(error.value), caplog.text):
        assert "webhook denied" in text
        assert not [each for each in ("Ada", "259f63", "owner@") if each in text], text
