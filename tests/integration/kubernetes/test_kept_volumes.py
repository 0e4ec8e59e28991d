"""The volumes that stay after a removal, on a cluster where berth may not read them."""

from collections.abc import Sequence
from pathlib import Path

import pytest
from aiohttp import web

from shared.adapters.kubernetes.ownership import INSTANCE, OWNER
from shared.errors import Conflict
from tests.support.builders import TENANT_SETTINGS
from tests.support.fake_api_server import fake_cluster, status

LABELS = {OWNER: TENANT_SETTINGS.owner, INSTANCE: "abc"}
NAMESPACE = {"metadata": {"name": "tenant-abc", "uid": "1", "labels": LABELS}}
CLAIM = {"metadata": {"name": "data", "labels": LABELS}, "spec": {"volumeName": "pvc-1"}}


@pytest.mark.parametrize(("may_read", "expected"), [(True, ["pvc-1"]), (False, [])])
async def test_a_missing_right_holds_no_removal_up(may_read: bool, expected: list[str], tmp_path: Path) -> None:
    async def respond(request: web.Request) -> web.StreamResponse:
        if request.path.endswith("/persistentvolumeclaims"):
            return web.json_response({"metadata": {}, "items": [CLAIM]})
        if request.path.endswith("/persistentvolumes/pvc-1"):
            volume = {"spec": {"persistentVolumeReclaimPolicy": "Retain"}}
            return web.json_response(volume) if may_read else status(403, "forbidden")
        return web.json_response(NAMESPACE)

    recorded: list[str] = []

    async def record(names: Sequence[str]) -> None:
        recorded.extend(names)
        raise Conflict("to be read again")  # so that the removal ends here

    async with fake_cluster(respond, tmp_path) as (cluster, server):
        with pytest.raises(Conflict, match="to be read again"):
            await cluster.remove("tenant-abc", timeout=5, record_kept=record)
    assert recorded == expected
    claims = "/api/v1/namespaces/tenant-abc/persistentvolumeclaims"
    assert [each for each in server.requests if each.endswith(claims)] == [f"GET {claims}"]
