"""Sweeps over HTTP, on fakes: what is returned, in JSON and as CSV."""

import csv
import io
import json
from typing import Any
from urllib.parse import parse_qsl, quote

import azure.functions as func
import pytest

from functions.http import sweeps
from functions.http.csv_table import csv_of
from functions.http.sweep_responses import SweepDecision
from shared.domain import dormancy
from shared.domain.slugs import Slug
from shared.domain.sweeps import Action
from shared.domain.sweeps import SweepDecision as Decision
from tests.support.builders import new_settings
from tests.support.clock import START
from tests.support.registered import registered_functions
from tests.support.sweeping import ACTIVITY
from tests.support.world import World, new_world
from tests.support.world_container import WorldContainer


@pytest.fixture
async def world(monkeypatch: pytest.MonkeyPatch) -> World:
    """A world with two active tenants, whose requests about sweeps are answered."""
    made = await new_world(settings=new_settings().model_copy(update={"activity": ACTIVITY}))
    for slug in ("acme", "beta"):
        await made.active(slug)
    made.clock.advance(60)
    monkeypatch.setattr(sweeps, "container", lambda: WorldContainer(made))
    return made


async def call(name: str, method: str = "GET", body: Any = None, query: str = "", **path: str) -> func.HttpResponse:
    """Call a registered trigger as the worker does."""
    url = f"https://berth.example.com/api/sweeps{f'?{query}' if query else ''}"
    params = dict(parse_qsl(query))
    content = b"" if body is None else json.dumps(body).encode()
    headers = {"Content-Type": "application/json", "Berth-Actor": "portal"}
    req = func.HttpRequest(method=method, url=url, params=params, route_params=path, body=content, headers=headers)
    function = registered_functions()[name].get_user_function()
    # What binds the durable client is left out: the world has its own task hub.
    return await (function.__wrapped__(req, None) if name == "start_sweep" else function(req))


def read(response: func.HttpResponse, status: int = 200) -> Any:
    assert response.status_code == status, response.get_body()
    return json.loads(response.get_body())


async def test_a_dry_run_is_started_joined_and_followed(world: World) -> None:
    response = await call("start_sweep", "POST", {"dry_run": True})
    begun = read(response, 202)
    assert response.headers["Location"] == f"/api/sweeps/{begun['id']}" == begun["links"]["self"]
    assert (begun["state"], begun["dry_run"], begun["actor"], begun["ended_at"]) == ("deciding", True, "portal", None)
    assert read(await call("start_sweep", "POST", {"dry_run": True}), 202)["id"] == begun["id"]
    while not (await world.worker.advance_sweep.run(begun["id"], world.workflows)).ended:
        pass
    ended = read(await call("show_sweep", id=begun["id"]))
    assert (ended["state"], ended["looked_at"], ended["keep"]) == ("refused", 2, 2)
    assert ended["reason"] == "prometheus has not watched for activity"
    page = read(await call("list_sweeps"))
    assert ([each["id"] for each in page["items"]], page["next"], page["enabled"]) == ([begun["id"]], "", True)
    decisions = read(await call("list_sweep_decisions", query="limit=1", id=begun["id"]))
    assert [each["tenant"] for each in decisions["items"]] == ["acme"]
    assert decisions["items"][0]["reason"].startswith("nobody has used it in the 0.0 days since it became active")
    rest = read(await call("list_sweep_decisions", query=f"next={quote(decisions['next'])}", id=begun["id"]))
    assert ([each["tenant"] for each in rest["items"]], rest["next"]) == (["beta"], "")
    nothing = read(await call("list_sweep_decisions", query="outcome=hibernate", id=begun["id"]))
    assert nothing == {"items": [], "next": ""}


async def test_decisions_come_as_csv_page_by_page(world: World) -> None:
    begun = read(await call("start_sweep", "POST", {"dry_run": True}), 202)
    while not (await world.worker.advance_sweep.run(begun["id"], world.workflows)).ended:
        pass
    response = await call("list_sweep_decisions", query="code=secret&format=csv&limit=1", id=begun["id"])
    assert response.mimetype == "text/csv"
    lines = list(csv.DictReader(io.StringIO(response.get_body().decode())))
    assert [(each["tenant"], each["outcome"], each["saves"]) for each in lines] == [("acme", "keep", "0.0")]
    link = response.headers["Link"]
    assert link.startswith("</api/sweeps?format=csv&limit=1&next=")
    assert link.endswith('>; rel="next"')
    assert "secret" not in link


async def test_the_switch_and_stop(world: World) -> None:
    begun = read(await call("start_sweep", "POST"), 202)
    assert read(await call("stop_sweep", "POST", id=begun["id"]))["id"] == begun["id"]
    await world.worker.advance_sweep.run(begun["id"], world.workflows)
    stopped = read(await call("show_sweep", id=begun["id"]))
    assert (stopped["state"], stopped["reason"]) == ("stopped", "stopped by portal")
    assert read(await call("switch_sweeps", "PATCH", {"enabled": False})) == {"enabled": False}
    assert read(await call("start_sweep", "POST", {}), 409)["type"] == "/api/problems/conflict"
    assert read(await call("list_sweeps"))["enabled"] is False


@pytest.mark.parametrize("name", ["show_sweep", "list_sweep_decisions"])
async def test_a_sweep_that_is_not_there_is_not_found(world: World, name: str) -> None:
    assert read(await call(name, id="sweep-2020-01-01"), 404)["detail"] == "there is no sweep sweep-2020-01-01"


async def test_a_wrong_next_is_invalid(world: World) -> None:
    begun = read(await call("start_sweep", "POST", {"dry_run": True}), 202)
    assert read(await call("list_sweep_decisions", query="next=x", id=begun["id"]), 422)["errors"]
    assert read(await call("list_sweeps", query="next=x"), 422)["errors"]


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1"])
def test_no_cell_of_a_csv_is_a_formula(text: str) -> None:
    decision = Decision(Slug("acme"), "trial", dormancy.Outcome.UNKNOWN, text, START, note=f'a "{text}", b\n')
    (line,) = csv.DictReader(io.StringIO(csv_of([SweepDecision.of(decision)], SweepDecision), newline=""))
    assert (line["reason"], line["note"]) == (f"'{text}", f'a "{text}", b\n')


def test_what_an_ended_sweep_left_is_not_pending() -> None:
    decision = Decision(Slug("acme"), "trial", dormancy.Outcome.HIBERNATE, "idle", START, action=Action.PENDING)
    assert [SweepDecision.of(decision, ended=ended).action for ended in (False, True)] == ["pending", "none"]
