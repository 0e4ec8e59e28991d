"""Visits over HTTP, on fakes: what a waiting room is told, and that it needs no key."""

import json
from typing import Any

import azure.functions as func
import pytest

from functions.http import visits
from functions.http.endpoint import ROUTES
from shared.domain.lifecycle import TenantState
from tests.support.registered import registered_functions
from tests.support.world import World, new_world
from tests.support.world_container import WorldContainer

ACME = "acme.one.example.com"


@pytest.fixture
async def world(monkeypatch: pytest.MonkeyPatch) -> World:
    """A world with a tenant that sleeps."""
    made = await new_world()
    await made.asleep()
    monkeypatch.setattr(visits, "container", lambda: WorldContainer(made))
    return made


async def call(name: str, host: str = ACME) -> func.HttpResponse:
    """Call a registered trigger as the worker does."""
    url, method = f"https://berth.example.com/api/visits/{host}", ROUTES[name].method
    req = func.HttpRequest(method=method, url=url, route_params={"host": host}, body=b"")
    function = registered_functions()[name].get_user_function()
    # What binds the durable client is left out: the world has its own task hub.
    return await (function.__wrapped__(req, None) if name == "begin_visit" else function(req))


def read(response: func.HttpResponse, status: int = 200) -> Any:
    assert response.status_code == status, response.get_body()
    return json.loads(response.get_body())


def test_no_key_is_needed() -> None:
    assert {ROUTES[name].level for name in ("begin_visit", "show_visit")} == {func.AuthLevel.ANONYMOUS}


async def test_only_a_visit_wakes(world: World) -> None:
    response = await call("show_visit", ACME.upper())
    asleep = {
        "host": ACME,
        "state": "asleep",
        "percent": 0,
        "position": None,
        "message": "It is asleep. It opens when somebody visits it.",
        "elapsed_seconds": None,
        "retry_after": 5,
    }
    assert read(response) == asleep
    assert (response.headers["Retry-After"], response.headers["Cache-Control"]) == ("5", "no-store")
    assert response.headers["Berth-Visit-State"] == "asleep"
    assert (await world.tenant()).state is TenantState.HIBERNATED
    opening = read(await call("begin_visit"))
    assert opening == asleep | {
        "state": "opening",
        "percent": 17,
        "message": "It is being opened.",
        "elapsed_seconds": 0,
    }
    assert (await world.tenant()).state is TenantState.WAKING
    await world.run()
    world.clock.advance(1)
    assert read(await call("show_visit"))["state"] == "open"


async def test_a_failed_wake_says_when_to_ask_again(world: World) -> None:
    await call("begin_visit")
    await world.cancel((await world.tenant()).operation)
    await world.run()
    world.clock.advance(20)
    response = await call("begin_visit")
    assert read(response)["retry_after"] == 40
    assert response.headers["Retry-After"] == "40"


async def test_who_is_not_there_is_not_found(world: World) -> None:
    problems = [read(await call(name, host), 404) for name in ROUTES if "visit" in name for host in ("x", f"x{ACME}")]
    assert {each["detail"] for each in problems} == {"there is no tenant at this address"}
