"""The API describes itself, explains its problems, and answers what it does not have."""

import pytest

from functions.http.problems import Kind
from tests.integration.api.test_tenants_api import raw
from tests.support.described_api import DOCUMENT
from tests.support.stack import ProxiedStack


async def test_the_description_needs_no_key(berth: ProxiedStack) -> None:
    answer = await raw(berth, "GET", "openapi.json", key="none")
    assert (answer.status_code, answer.json()) == (200, DOCUMENT)


@pytest.mark.parametrize("kind", Kind)
async def test_the_type_of_a_problem_leads_to_its_page(berth: ProxiedStack, kind: Kind) -> None:
    answer = await raw(berth, "GET", kind.type.removeprefix("/api/"), key="none")
    assert (answer.status_code, answer.headers["Content-Type"]) == (200, "text/markdown; charset=utf-8")
    assert answer.text.startswith(f"# {kind.label}\n")


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
async def test_an_unknown_path_is_a_problem(berth: ProxiedStack, method: str, path: str) -> None:
    answer = await raw(berth, method, path, key="none")
    assert (answer.status_code, answer.json()["type"]) == (404, Kind.NOT_FOUND.type)
    assert answer.json()["instance"] == f"/api/{path}"


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
async def test_a_wrong_method_is_told_the_right_ones(berth: ProxiedStack, method: str, path: str, allowed: str) -> None:
    answer = await raw(berth, method, path, key="none")
    assert (answer.status_code, answer.headers["Allow"]) == (405, allowed)
    assert answer.json()["type"] == Kind.METHOD_NOT_ALLOWED.type


async def test_a_head_request_is_a_wrong_method_too(berth: ProxiedStack) -> None:
    answer = await raw(berth, "HEAD", "healthz")
    assert (answer.status_code, answer.headers["Allow"], answer.content) == (405, "GET", b"")
