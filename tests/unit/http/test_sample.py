"""The sample signup page on fakes: what its paths respond, and to whom."""

import asyncio
import json
import re
from collections.abc import Mapping
from typing import Any

import azure.functions as func
import pytest

from functions.http import operations, sample, tenants
from functions.http.api import ROUTES
from functions.http.endpoint import CLIENT
from shared.application.sample_signups import MAX_REQUESTS
from shared.application.signup import SignupRequest
from shared.domain.slugs import Slug
from shared.errors import TooMany
from shared.settings import SampleSettings, Settings
from tests.support.builders import new_settings, signup_body
from tests.support.faults import Faults
from tests.support.faulty_tables import FaultyTables
from tests.support.html_page import elements
from tests.support.registered import registered_functions
from tests.support.world import Worker, World, new_world
from tests.support.world_container import WorldContainer

SAMPLE = [name for name, route in ROUTES.items() if route.path.startswith("sample/")]
FROM_HERE = {"Sec-Fetch-Site": "same-origin", "Content-Type": "application/json"}
EMAIL = "owner@example.com"


@pytest.fixture
async def world(monkeypatch: pytest.MonkeyPatch) -> World:
    return await _world(monkeypatch, SampleSettings(enabled=True, signups_per_hour=3))


async def _world(monkeypatch: pytest.MonkeyPatch, settings: SampleSettings, others: Settings | None = None) -> World:
    made = await new_world(settings=(others or new_settings()).model_copy(update={"sample": settings}))
    for module in (sample, operations, tenants):
        monkeypatch.setattr(module, "container", lambda: WorldContainer(made))
    return made


async def call(
    name: str, *, body: Mapping[str, Any] | None = None, headers: Mapping[str, str] | None = None, **params: str
) -> func.HttpResponse:
    """Call a registered trigger as the worker does; the world has its own task hub, so no client is bound."""
    route = ROUTES[name]
    req = func.HttpRequest(
        method=route.method,
        url=f"https://berth.example.com/api/{route.path.format(**params)}",
        headers=headers or {},
        route_params=params,
        body=json.dumps(body).encode() if body is not None else b"",
    )
    function = registered_functions()[name]
    trigger = function.get_user_function()
    if any(binding.name == CLIENT for binding in function.get_bindings()):
        return await trigger.__wrapped__(req, None)
    return await trigger(req)


async def sign_up(slug: str = "acme", key: str = "one", **more: str) -> func.HttpResponse:
    headers = FROM_HERE | {"Idempotency-Key": key}
    return await call("create_sample_tenant", body=signup_body(slug, **{"email": EMAIL, **more}), headers=headers)


def read(response: func.HttpResponse, status: int = 200) -> Any:
    assert response.status_code == status, response.get_body()
    return json.loads(response.get_body())


@pytest.mark.parametrize("name", SAMPLE)
async def test_nothing_is_there_unless_it_is_on(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    world = await _world(monkeypatch, SampleSettings())
    assert not world.settings.sample.enabled
    response = await call(name, body=None, headers=FROM_HERE, slug="acme", id="acme.x")
    assert response.status_code == 404
    assert b"BERTH_SAMPLE_ENABLED" in response.get_body()


def test_no_key_is_needed_and_the_api_says_nothing_of_it() -> None:
    assert len(SAMPLE) == 5
    assert {ROUTES[name].level for name in SAMPLE} == {func.AuthLevel.ANONYMOUS}
    assert not any(ROUTES[name].described for name in SAMPLE)


async def test_the_page_has_the_plans_and_regions(world: World) -> None:
    response = await call("show_sample_page")
    found = elements(response.get_body().decode())
    assert [each.text for each in found if each.tag == "option"] == [*world.worker.plans, "local"]
    assert "script-src 'self'" in response.headers["Content-Security-Policy"]
    labels = {each.attributes["for"] for each in found if each.tag == "label"}
    assert labels == {each.attributes["name"] for each in found if each.tag in ("input", "select")}
    ids = {each.attributes["id"] for each in found if "id" in each.attributes}
    for each in found:
        assert set(each.attributes.get("aria-describedby", "").split()) <= ids


async def test_what_is_shown_without_javascript_is_a_signup(world: World) -> None:
    page = elements((await call("show_sample_page")).get_body().decode())
    commands = next(each.text for each in page if each.tag == "pre" and "noscript" in each.inside)
    [body] = re.findall(r"-d '(.+?)'", commands, re.DOTALL)
    assert read(await call_api("create_tenant", json.loads(body), key="typed"), 202)["tenant"] == "acme"
    paths = [
        f"/api/{ROUTES[name].path}" for name in ("check_slug_is_free", "create_tenant", "show_operation", "show_tenant")
    ]
    asked = re.findall(r'"\$BERTH(/\S+?)"', commands)
    assert asked == [path.replace("{slug}", "acme").replace("{id}", "$OPERATION") for path in paths]


async def test_a_signup_becomes_a_tenant_with_an_address(world: World) -> None:
    begun = await sign_up()
    operation = read(begun, 202)
    assert begun.headers["Location"] == f"/api/operations/{operation['id']}"
    await world.run()
    shown = await call("show_sample_operation", id=operation["id"])
    assert (read(shown)["state"], shown.headers.get("Retry-After")) == ("succeeded", None)
    tenant = read(await call("show_sample_tenant", id=operation["id"]))
    assert (tenant["url"], tenant["email"]) == ("https://acme.one.example.com", EMAIL)
    assert (await world.tenant()).operation.actor == "sample"


async def test_an_open_operation_says_when_to_ask_again(world: World) -> None:
    operation = read(await sign_up(), 202)
    assert (await call("show_sample_operation", id=operation["id"])).headers["Retry-After"] == "2"


async def test_the_same_signup_twice_is_one_tenant(world: World) -> None:
    first, again = read(await sign_up(), 202), read(await sign_up(), 202)
    assert first["id"] == again["id"]
    await world.run()
    assert read(await sign_up(), 202)["id"] == first["id"]
    assert read(await sign_up("other"), 422)["type"] == "/api/problems/key-reused"


async def test_a_key_is_required(world: World) -> None:
    response = await call("create_sample_tenant", body=signup_body("acme"), headers=FROM_HERE)
    assert [each["pointer"] for each in read(response, 422)["errors"]] == ["Idempotency-Key"]


async def test_the_key_of_a_portal_stays_its_own(world: World) -> None:
    assert read(await sign_up("acme", key="portal's"), 202)
    shared = await call_api("create_tenant", signup_body("other"), key="portal's")
    assert read(shared, 202)["tenant"] == "other"


async def call_api(name: str, body: Mapping[str, Any], *, key: str) -> func.HttpResponse:
    return await call(name, body=body, headers={"Content-Type": "application/json", "Idempotency-Key": key})


@pytest.mark.parametrize(
    "changes",
    [
        {"email": "nobody"},
        {"slug": "admin"},
        {"slug": "taken"},
        {"plan": "none"},
        {"region": "none"},
        {"display_name": ""},
    ],
)
async def test_problems_are_those_of_the_api(world: World, changes: Mapping[str, str]) -> None:
    await world.active("taken")
    body = {**signup_body("acme"), **changes}
    of_the_api = await call_api("create_tenant", body, key="api")
    of_the_sample = await call("create_sample_tenant", body=body, headers=FROM_HERE | {"Idempotency-Key": "sample"})
    assert of_the_sample.get_body() == of_the_api.get_body()
    assert of_the_sample.status_code == of_the_api.status_code >= 400
    assert of_the_sample.mimetype == "application/problem+json"


@pytest.mark.parametrize("slug", ["acme", "taken", "admin", "No", "kube-x"])
async def test_a_slug_check_says_what_that_of_the_api_says(world: World, slug: str) -> None:
    await world.active("taken")
    responses = [await call(name, slug=slug) for name in ("check_sample_slug", "check_slug_is_free")]
    assert responses[0].get_body() == responses[1].get_body()
    assert EMAIL.encode() not in responses[0].get_body()


async def test_only_what_the_sample_made_is_shown(world: World) -> None:
    operation = await world.sign_up("taken")
    await world.run()
    for name in ("show_sample_operation", "show_sample_tenant"):
        for unknown in (operation.id, "taken.zzzzzzzzzzzzzzzzzzzz", "x"):
            problem = read(await call(name, id=unknown), 404)
            assert EMAIL not in json.dumps(problem)
    assert problem["instance"].startswith("/api/operations/")


async def test_a_tenant_that_changed_since_is_not_shown(world: World) -> None:
    operation = read(await sign_up(), 202)
    await world.run()
    await world.sleep()
    await world.run()
    assert read(await call("show_sample_tenant", id=operation["id"]), 404)


async def test_a_version_cannot_be_chosen(world: World) -> None:
    assert [each["pointer"] for each in read(await sign_up(version="2.0.0"), 422)["errors"]] == ["/version"]


@pytest.mark.parametrize("headers", [{"Sec-Fetch-Site": "cross-site"}, {"Origin": "https://elsewhere.example"}, {}])
async def test_no_other_site_signs_up(world: World, headers: Mapping[str, str]) -> None:
    sent = {"Content-Type": "application/json", "Idempotency-Key": "one", **headers}
    response = await call("create_sample_tenant", body=signup_body("acme"), headers=sent)
    assert read(response, 403)["type"] == "/api/problems/forbidden"
    assert await world.worker.tenants.open_operations() == []


async def test_an_hour_has_so_many_signups(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    for slug in ("a-1", "a-2", "a-3"):
        assert read(await sign_up(slug, key=slug), 202)
    refused = await sign_up("a-4", key="a-4")
    assert read(refused, 429)["type"] == "/api/problems/too-many-requests"
    assert read(await sign_up("a-1", key="a-1"), 202)  # the same signup again is none more
    assert read(await sign_up("a-1", key="new"), 409)  # and one that is refused is none
    monkeypatch.setattr(sample, "container", lambda: WorldContainer(world))
    world.workers.insert(0, world.new_worker())  # which remembers nothing
    assert read(await sign_up("a-4", key="a-4"), 429)
    world.clock.advance(int(refused.headers["Retry-After"]) - 1)
    assert read(await sign_up("a-4", key="a-4"), 429)
    world.clock.advance(2)
    assert read(await sign_up("a-4", key="a-4"), 202)


async def test_a_signup_that_waits_for_the_queue_keeps_its_slot(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = new_settings(max_concurrent=1, wake_slots=0, max_queued=0)
    world = await _world(monkeypatch, SampleSettings(enabled=True, signups_per_hour=2), settings)
    assert read(await sign_up("first", key="first"), 202)
    for _ in range(5):
        full = await sign_up("second", key="second")
        assert read(full, 429)["type"] == "/api/problems/queue-full"
        assert int(full.headers["Retry-After"]) >= 30
    await world.run()
    assert read(await sign_up("second", key="second"), 202)


async def test_a_taken_slug_leaves_no_row(world: World) -> None:
    await world.active("taken")
    before = {table: dict(rows) for table, rows in world.storage.rows.items()}
    for number in range(MAX_REQUESTS):
        assert read(await sign_up("taken", key=f"key-{number}"), 409)["type"] == "/api/problems/conflict"
    assert world.storage.rows == before


@pytest.mark.parametrize("word", ["signup", "slot", "key slot", "sample slot"])
async def test_no_key_takes_a_slot_of_the_next_hour(world: World, word: str) -> None:
    number = int(world.clock.now().timestamp()) // 3600
    for slot in range(3):
        assert read(await sign_up(f"a-{slot}", key=f"{word} {number + 1} {slot}"), 202)
    world.clock.advance(3600)
    for slot in range(3):
        assert read(await sign_up(f"b-{slot}", key=f"b-{slot}"), 202)


async def test_a_new_worker_asks_once_for_each_slot(world: World) -> None:
    world.clock.advance(36 * 3600)  # to where a claim takes one request
    for slug in ("a-1", "a-2", "a-3"):
        assert read(await sign_up(slug, key=slug), 202)
    faults = Faults()
    tables = FaultyTables(world.storage, faults)
    fresh = Worker(tables, world.kubernetes, world.clock, world.settings, world.templates).sample
    request = SignupRequest(Slug("late"), "trial", "local", EMAIL, "Late")
    late = (fresh.sign_up(request, f"key-{number}", "print", world.workflows) for number in range(20))
    refused = await asyncio.gather(*late, return_exceptions=True)
    assert {type(each) for each in refused} == {TooMany}
    assert faults.calls.count("transact idempotency") == 3


@pytest.mark.parametrize("name", [name for name in SAMPLE if name != "show_sample_page"])
async def test_a_second_has_so_many_requests(world: World, name: str) -> None:
    body = signup_body("acme") if name == "create_sample_tenant" else None

    async def status() -> int:
        return (await call(name, body=body, headers=FROM_HERE, slug="acme", id="acme.x")).status_code

    statuses = [await status() for _ in range(MAX_REQUESTS + 10)]
    assert statuses.count(429) == 10
    world.clock.advance(1)
    assert await status() != 429


async def test_the_address_of_the_owner_is_in_no_log(world: World, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG")
    operation = read(await sign_up(), 202)
    await world.run()
    assert read(await sign_up("acme", key="two"), 409)
    assert read(await sign_up("no", key="three", email="nobody@"), 422)
    assert caplog.records
    assert "owner@" not in caplog.text
    assert "nobody@" not in caplog.text
    assert EMAIL not in json.dumps(operation) + json.dumps([call.work.encode() for call in world.delivered])
