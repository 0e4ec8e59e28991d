"""What all ops pages share: headers, escaping, errors, static files."""

import hashlib
import json
import re
from http import HTTPStatus

import azure.functions as func
import pytest

from functions.http.api import ROUTES
from functions.http.pages.rendering import TEMPLATES, html, problem_page
from functions.http.pages.session import Session
from functions.http.pages.static_files import FILES, static_url
from functions.http.problems import Kind, Problem
from shared.errors import Transient
from tests.support.html_page import elements
from tests.support.ops_pages import OpsVisitor, answer, call, ops_settings
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
    response = await call(name, "/api/ops", slug="acme", id="a")  # most of them ask for a sign-in
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
    response = await call(name, "/api/ops", slug="acme", id="a")
    expected = {"show_sign_in": 200, "sign_in": 403}.get(name, 401)  # a form of nowhere is refused first
    assert response.status_code == expected


def test_no_template_has_a_script_or_a_style_of_its_own() -> None:
    for path in TEMPLATES.iterdir():
        text = path.read_text()
        assert not re.search(r"<script(?![^>]* src=)|<style|\sstyle=|\son\w+=|javascript:|\|\s*safe\b", text), path.name


def test_hostile_text_stays_text() -> None:
    session = Session(HOSTILE, HOSTILE, HOSTILE, by_platform=False)
    problem = Problem(Kind.CONFLICT, HOSTILE, ((HOSTILE, HOSTILE),))
    text = html("problem", session=session, problem=problem).get_body().decode()
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
