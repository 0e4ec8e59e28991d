"""Clusters over HTTP, on fakes: what operators get who remove one."""

import json
import logging
from typing import Any

import azure.functions as func
import pytest

from functions.http import clusters
from shared.domain.clusters import ClusterState
from tests.support.registered import registered_functions
from tests.support.world import PORTAL, World, new_world
from tests.support.world_container import WorldContainer


@pytest.fixture
async def world(monkeypatch: pytest.MonkeyPatch) -> World:
    """A world with a cordoned cluster, whose requests about clusters are answered."""
    made = await new_world()
    await made.active()
    await made.worker.registry.change((await made.cluster()).name, state=ClusterState.CORDONED, capacity=None)
    monkeypatch.setattr(clusters, "container", lambda: WorldContainer(made))
    return made


async def remove(name: str, *, body: bytes = b"", actor: str = "ann") -> func.HttpResponse:
    """Call the registered trigger as the worker does."""
    url, headers = f"https://berth.example.com/api/clusters/{name}", {"Berth-Actor": actor}
    req = func.HttpRequest(method="DELETE", url=url, params={}, route_params={"name": name}, body=body, headers=headers)
    return await registered_functions()["remove_cluster"].get_user_function()(req)


def read(response: func.HttpResponse, status: int) -> Any:
    assert response.status_code == status, response.get_body()
    return json.loads(response.get_body())


async def test_a_cluster_is_removed_by_an_operator(world: World, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    found = read(await remove("one"), 409)
    assert found["type"] == "/api/problems/conflict"
    assert found["detail"].startswith("cluster one is not removed: it has tenants (1 active): acme. Delete them;")
    await world.worker.delete.delete((await world.tenant()).slug, PORTAL, world.workflows)
    await world.run()
    found = read(await remove("one"), 200)
    assert (found["name"], found["state"], found["instances"]) == ("one", "cordoned", 0)
    assert "cluster removed cluster=one" in caplog.text
    assert "actor=ann" in caplog.text
    assert read(await remove("one"), 404)["detail"] == "no cluster one is registered"


@pytest.mark.parametrize(
    ("name", "body", "actor"), [("One", b"", "ann"), ("one", b"{}", "ann"), ("one", b"", "ann@example.com")]
)
async def test_a_wrong_request_removes_nothing(world: World, name: str, body: bytes, actor: str) -> None:
    assert read(await remove(name, body=body, actor=actor), 422)["type"] == "/api/problems/invalid-request"
    assert (await world.cluster()).state is ClusterState.CORDONED


def test_only_operators_remove_clusters() -> None:
    [trigger] = [each for each in registered_functions()["remove_cluster"].get_bindings() if each.type == "httpTrigger"]
    assert trigger.auth_level is func.AuthLevel.ADMIN
