"""What all ops pages share: headers, escaping, errors, static files."""

import hashlib
import json
import re
from copy import deepcopy
from http import HTTPStatus
from pathlib import Path

import azure.functions as func
import pytest

from functions.http.api import ROUTES
from functions.http.pages.rendering import TEMPLATES, html, problem_page
from functions.http.pages.session import Session
from functions.http.pages.static_files import FILES, StaticFiles, static_url
from functions.http.problems import Kind, Problem
from shared.errors import Transient
from tests.support.html_page import elements
from tests.support.ops_pages import OpsVisitor, answer, call, ops_settings
from tests.support.registered import registered_functions
from tests.support.world import new_world

HOSTILE = "<script>alert(1)</script>\"'&{{7*7}}"
PAGES = [
    name
    for name, route in ROUTES.items()
    if not route.described and route.path.startswith("ops") and name != "show_static_file"
]


@pytest.mark.parametrize("name", PAGES)
async def test_every_page_has_the_headers(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    answer(monkeypatch, await new_world(settings=ops_settings()))
    response = await call(name, "/api/ops", slug="acme", id="a", name="one")  # most of them ask for a sign-in
    policy = response.headers["Content-Security-Policy"]
    assert "default-src 'none'; script-src 'self'; style-src 'self';" in policy
    assert "unsafe" not in policy
    for directive in ("form-action 'self'", "frame-ancestors 'none'", "base-uri 'none'", "connect-src 'self'"):
        assert directive in policy
    assert response.headers["X-Content-Type-Options"] == "nosniff"
    assert response.headers["Referrer-Policy"] == "no-referrer"
    assert response.headers["Cache-Control"] == "no-store"


@pytest.mark.parametrize("name", PAGES)
async def test_every_page_but_the_sign_in_asks_for_one(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    answer(monkeypatch, await new_world(settings=ops_settings()))
    response = await call(name, "/api/ops", slug="acme", id="a", name="one")
    expected = {"show_sign_in": 200, "sign_in": 403}.get(name, 401)  # a form of nowhere is refused first
    assert response.status_code == expected


@pytest.mark.parametrize("name", [name for name in PAGES if ROUTES[name].method == "GET"])
async def test_no_page_that_is_read_changes_anything(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    world = await new_world(settings=ops_settings())
    answer(monkeypatch, world)
    visitor = OpsVisitor()
    await visitor.sign_in(world)
    await world.active("acme")
    await world.sign_up("beta")
    sweep = await world.worker.sweeps.start(dry_run=False, actor="ann", workflows=world.workflows)
    before = deepcopy((world.storage.rows, world.workflows))
    params: dict[str, str] = {"slug": "acme", "name": "one", "id": sweep.id}
    used = {each: params[each] for each in params if f"{{{each}}}" in ROUTES[name].path}
    response = await call(name, f"/api/{ROUTES[name].path.format(**used)}", form=None, headers=visitor.headers, **used)
    assert response.status_code == HTTPStatus.OK
    assert (world.storage.rows, world.workflows) == before


def test_no_template_has_a_script_or_a_style_of_its_own() -> None:
    for path in TEMPLATES.iterdir():
        text = path.read_text()
        assert not re.search(r"<script(?![^>]* src=)|<style|\sstyle=|\son\w+=|javascript:|\|\s*safe\b", text), path.name


def test_hostile_text_stays_text() -> None:
    session = Session(HOSTILE, HOSTILE, HOSTILE, by_platform=False)
    problem = Problem(Kind.CONFLICT, HOSTILE, ((HOSTILE, HOSTILE),))
    text = html("problem", session=session, problem=problem, back=HOSTILE, of_ops=True).get_body().decode()
    assert "<script>alert" not in text
    assert "49" not in text
    assert HOSTILE in next(each.text for each in elements(text) if each.tag == "main")


async def test_an_error_is_a_page_that_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    world = await new_world(settings=ops_settings())
    answer(monkeypatch, world)
    visitor = OpsVisitor()
    await visitor.sign_in(world)

    async def fail(_: object) -> None:
        raise Transient("the tables are away", retry_after=7)

    monkeypatch.setattr(type(world.worker.clusters), "list", fail)
    response = await call("show_ops_overview", "/api/ops", headers=visitor.headers)
    text = response.get_body().decode()
    assert (response.status_code, response.headers["Retry-After"]) == (HTTPStatus.SERVICE_UNAVAILABLE, "7")
    assert Kind.UNAVAILABLE.title in text
    assert "the tables are away. Send the same request again in 7 s." in text
    assert f'href="{Kind.UNAVAILABLE.type}"' in text


@pytest.mark.parametrize("path", ["", "/.auth/login/aad"])
def test_only_a_problem_with_a_sign_in_leads_to_it(path: str) -> None:
    req = func.HttpRequest(method="GET", url="https://berth.example.com/api/ops", body=b"")
    problem = Problem(Kind.SIGN_IN, "Open the link, not /.auth/me.", sign_in=path)
    found = elements(problem_page(req, problem).get_body().decode())
    assert [each.attributes["href"] for each in found if (each.tag, each.text) == ("a", "Sign in")] == (
        [path] if path else []
    )


async def test_what_is_no_page_is_refused_with_one() -> None:
    function = registered_functions()["unknown_route"].get_user_function()

    async def refused(path: str) -> func.HttpResponse:
        url = f"https://berth.example.com/api/{path}"
        return await function(func.HttpRequest(method="GET", url=url, route_params={"path": path}, body=b""))

    page, document = await refused("ops/xyz"), await refused("xyz")
    assert (page.status_code, page.mimetype) == (404, "text/html")
    assert "/api/ops" in {each.attributes["href"] for each in elements(page.get_body().decode()) if each.tag == "a"}
    assert (document.status_code, document.mimetype) == (404, "application/problem+json")


def test_the_errors_of_a_form_are_named() -> None:
    req = func.HttpRequest(method="GET", url="https://berth.example.com/api/ops", body=b"")
    found = elements(problem_page(req, Problem(Kind.INVALID_REQUEST, "Fix it.", (("?a", "no"),))).get_body().decode())
    assert [each.text.strip() for each in found if each.tag == "li"] == ["?a no"]


async def test_a_static_file_is_kept_for_ever_under_its_hash() -> None:
    *_, digest, name = static_url("ops.css").split("/")
    response = await call("show_static_file", static_url("ops.css"), hash=digest, name=name)
    assert response.get_body() == (FILES / "ops.css").read_bytes()
    assert digest == hashlib.sha256(response.get_body()).hexdigest()[:16]
    assert (response.mimetype, "immutable" in response.headers["Cache-Control"]) == ("text/css", True)
    old = await call("show_static_file", static_url("ops.css"), hash="0" * 16, name=name)
    assert (old.get_body(), old.headers["Cache-Control"]) == (response.get_body(), "no-store")


def test_a_static_file_is_read_once(tmp_path: Path) -> None:
    (tmp_path / "ops.css").write_text("main {}")
    files = StaticFiles(tmp_path)
    first = files.find("ops.css")
    (tmp_path / "ops.css").unlink()
    assert first is not None
    assert (first.content, files.find("ops.css"), files.find("other.css")) == (b"main {}", first, None)


@pytest.mark.parametrize("name", ["../page.py", "page.py", "manifest.json", "htmx.LICENSE", "", "vendor/htmx.min.js"])
async def test_nothing_else_is_a_static_file(name: str) -> None:
    assert (await call("show_static_file", "/api/ops/static/0/x", hash="0", name=name)).status_code == 404


def test_the_vendored_files_are_those_of_the_manifest() -> None:
    vendor = FILES / "vendor"
    listed = {each["file"]: each for each in json.loads((vendor / "manifest.json").read_text())}
    assert {path.name for path in vendor.iterdir()} == listed.keys() | {"manifest.json"}
    for name, each in listed.items():
        assert hashlib.sha256((vendor / name).read_bytes()).hexdigest() == each["sha256"], name
    licences = {each["package"] for each in listed.values() if each["file"].endswith(".LICENSE")}
    assert licences == {each["package"] for each in listed.values()}
