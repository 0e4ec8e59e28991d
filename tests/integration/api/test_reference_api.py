"""The API's description, its problem pages, and its responses for unknown paths and methods."""

import pytest

from functions.http.problems import Kind
from tests.support.described_api import DOCUMENT
from tests.support.http_calls import send
from tests.support.stack import ProxiedStack


async def test_the_description_needs_no_key(berth: ProxiedStack) -> None:
    response = await send(berth, "GET", "openapi.json", key="none")
    assert (response.status_code, response.json()) == (200, DOCUMENT)


@pytest.mark.parametrize("kind", Kind)
async def test_the_type_of_a_problem_leads_to_its_page(berth: ProxiedStack, kind: Kind) -> None:
    response = await send(berth, "GET", kind.type.removeprefix("/api/"), key="none")
    assert (response.status_code, response.headers["Content-Type"]) == (200, "text/markdown; charset=utf-8")
    assert response.text.startswith(f"# {kind.label}\n")


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "nothing"),
        ("POST", "tenants/acme/nothing"),
        ("GET", "problems/nothing"),
        ("GET", ""),
        ("DELETE", "a/b/c/d"),
    ],
)
async def test_an_unknown_path_gets_a_problem(berth: ProxiedStack, method: str, path: str) -> None:
    response = await send(berth, method, path, key="none")
    assert (response.status_code, response.json()["type"]) == (404, Kind.NOT_FOUND.type)
    assert response.json()["instance"] == f"/api/{path}"


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("PATCH", "tenants", "GET, POST"),
        ("PUT", "tenants/acme", "DELETE, GET"),
        ("POST", "operations/acme.1", "GET"),
        ("GET", "tenants/acme/retry/", "POST"),
        ("OPTIONS", "openapi.json", "GET"),
    ],
)
async def test_a_wrong_method_gets_the_allowed_ones(berth: ProxiedStack, method: str, path: str, allowed: str) -> None:
    response = await send(berth, method, path, key="none")
    assert (response.status_code, response.headers["Allow"]) == (405, allowed)
    assert response.json()["type"] == Kind.METHOD_NOT_ALLOWED.type


async def test_head_is_not_an_allowed_method(berth: ProxiedStack) -> None:
    response = await send(berth, "HEAD", "healthz")
    assert (response.status_code, response.headers["Allow"], response.content) == (405, "GET", b"")
