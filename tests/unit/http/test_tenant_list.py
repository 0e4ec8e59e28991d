"""The list of tenants over HTTP, on fakes: what cannot be read is berth's fault, and a wrong `next` is the caller's."""

import json
import logging
from typing import Any

import azure.functions as func
import pytest

from functions.http import tenants
from shared.adapters.tables import keys
from shared.adapters.tables.storage import Row
from shared.adapters.tables.tenants import TABLE
from tests.support.registered import registered_functions
from tests.support.world import World, new_world
from tests.support.world_container import WorldContainer

WRONG: dict[str, Row] = {
    "newer": {"schema_version": 99},
    "corrupt": {"operation": "{"},
    "unknown": {"state": "archived"},
}


@pytest.fixture
async def world(monkeypatch: pytest.MonkeyPatch) -> World:
    """A world with two tenants."""
    made = await new_world()
    for slug in ("acme", "beta"):
        await made.active(slug)
    monkeypatch.setattr(tenants, "container", lambda: WorldContainer(made))
    return made


async def listed(query: str = "") -> tuple[int, Any]:
    """Return the status and the document of a list."""
    params = dict(part.split("=") for part in query.split("&")) if query else {}
    url = f"https://berth.example.com/api/tenants?{query}"
    req = func.HttpRequest(method="GET", url=url, params=params, body=b"")
    response = await registered_functions()["list_tenants"].get_user_function()(req)
    return response.status_code, json.loads(response.get_body())


@pytest.mark.parametrize("changed", WRONG.values(), ids=WRONG)
async def test_an_unreadable_row_is_named_in_the_log_alone(
    world: World, changed: Row, caplog: pytest.LogCaptureFixture
) -> None:
    rows, key = world.storage.rows[TABLE], (keys.shard((await world.tenant("acme")).slug), keys.tenant_key("acme"))
    row, etag = rows[key]
    rows[key] = {**row, **changed}, etag
    status, page = await listed()
    assert (status, [each["slug"] for each in page["items"]]) == (200, ["beta"])
    [record] = [each for each in caplog.records if "tenant:acme" in each.getMessage()]
    assert record.levelno == logging.ERROR


async def test_what_breaks_while_reading_is_no_fault_of_the_caller(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    def breaks(*_: object, **__: object) -> None:
        raise ValueError("a page of the tables that is no page")

    monkeypatch.setattr(type(world.storage), "query", breaks)
    status, problem = await listed()
    assert (status, problem["type"]) == (500, "/api/problems/internal")


async def test_a_wrong_token_is_the_callers_fault(world: World) -> None:
    status, problem = await listed("next=nonsense")
    assert (status, [each["pointer"] for each in problem["errors"]]) == (422, ["?next"])
