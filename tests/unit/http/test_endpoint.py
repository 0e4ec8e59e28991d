"""What every registered HTTP function does with a request, before and after its handler."""

import json
from http import HTTPStatus
from typing import Any, NoReturn

import azure.functions as func
import pytest

from functions.http.endpoint import ROUTES, endpoint, request_path
from functions.http.problems import INTERNAL, MEDIA_TYPE, Kind, Problem, ProblemError
from functions.http.route import TENANT, Parameter, Response, Route
from shared.errors import BerthError, Conflict, Permanent, QueueFull, Transient
from tests.support.registered import registered_functions

HOST = "https://berth.example.com"


def request(method: str, path: str, body: bytes = b"", /, **route_params: str) -> func.HttpRequest:
    return func.HttpRequest(method=method, url=HOST + path, route_params=route_params, body=body)


async def call(name: str, req: func.HttpRequest) -> func.HttpResponse:
    """Call a registered trigger as the worker does."""
    return await registered_functions()[name].get_user_function()(req)


def document(response: func.HttpResponse) -> dict[str, Any]:
    assert response.mimetype == MEDIA_TYPE
    found: dict[str, Any] = json.loads(response.get_body())
    assert found["status"] == response.status_code
    return found


def fail_with(error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the handlers of tenants fail."""

    def container() -> NoReturn:
        raise error

    monkeypatch.setattr("functions.http.tenants.container", container)


def show_tenant() -> func.HttpRequest:
    return request("GET", "/api/tenants/acme?code=secret-key", slug="acme")


@pytest.mark.parametrize(
    ("path", "parameters"),
    [
        ("things/{name}", ()),
        ("things", (TENANT,)),
        ("things/{name}", (TENANT,)),
        ("things/{name}", (Parameter("query", "name", str, "Its name."),)),
        ("things/{name}/{slug}", (TENANT,)),
    ],
)
def test_undeclared_path_parameters_are_refused(path: str, parameters: tuple[Parameter, ...]) -> None:
    response = Response(HTTPStatus.OK, "It is there.", str)
    before = dict(ROUTES)
    with pytest.raises(ValueError, match="are declared"):
        endpoint(Route(method="GET", path=path, summary="", responses=(response,), problems=(), parameters=parameters))
    assert before == ROUTES


async def test_a_good_request_reaches_its_handler() -> None:
    response = await call("healthz", request("GET", "/api/healthz?code=key"))
    assert (response.status_code, json.loads(response.get_body())) == (200, {"status": "ok"})


@pytest.mark.parametrize(
    ("name", "query", "errors"),
    [
        ("show_openapi", "?a=1", {"?a": "this request takes no parameters"}),
        ("list_tenants", "?limt=1", {"?limt": "use state, plan, cluster, region, prefix, limit, next only"}),
        ("list_tenants", "?limit=1&limit=2", {"?limit": "give it once"}),
        ("list_tenants", "?limit=1&limit=1", {"?limit": "give it once"}),
        ("list_tenants", "?next=", {"?next": "give it a value, or leave it out"}),
        ("list_tenants", "?a=1&plan=trial&plan=trial", {"?a": None, "?plan": "give it once"}),
    ],
)
async def test_a_wrong_query_is_a_problem(name: str, query: str, errors: dict[str, str | None]) -> None:
    response = await call(name, request("GET", f"/api/path{query}"))
    found = document(response)
    assert (response.status_code, found["type"]) == (422, Kind.INVALID_REQUEST.type)
    texts = {each["pointer"]: each["detail"] for each in found["errors"]}
    assert texts.keys() == errors.keys()
    assert all(text is None or texts[name] == text for name, text in errors.items())


async def test_a_body_that_is_not_expected_is_a_problem() -> None:
    response = await call("show_openapi", request("GET", "/api/openapi.json", b"{}"))
    found = document(response)
    assert (response.status_code, found["errors"][0]["detail"]) == (422, "send this request without a body")


@pytest.mark.parametrize(
    ("error", "status", "headers"),
    [
        (Conflict("acme is busy"), 409, {}),
        (QueueFull("the queue is full", 40), 429, {"Retry-After": "40"}),
        (
            ProblemError(Problem(Kind.TOO_LARGE, "send less", headers={"Connection": "close"})),
            413,
            {"Connection": "close"},
        ),
    ],
)
async def test_a_refusal_is_a_problem_and_not_logged(
    error: BerthError,
    status: int,
    headers: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level("INFO")
    fail_with(error, monkeypatch)
    response = await call("show_tenant", show_tenant())
    found = document(response)
    assert (response.status_code, found["instance"]) == (status, "/api/tenants/acme")
    assert found["detail"].startswith(str(error))
    assert dict(response.headers) == headers
    assert caplog.records == []


@pytest.mark.parametrize(
    ("error", "status", "kind"),
    [
        (Transient("tables are away"), 503, Kind.UNAVAILABLE),
        (Permanent("tables refused"), 502, Kind.DEPENDENCY_REFUSED),
        (BerthError("tables"), 500, Kind.INTERNAL),
    ],
)
async def test_a_failed_request_logs_its_cause(
    error: BerthError, status: int, kind: Kind, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    fail_with(error, monkeypatch)
    response = await call("show_tenant", show_tenant())
    assert (response.status_code, document(response)["type"]) == (status, kind.type)
    (record,) = caplog.records
    assert record.levelname == "WARNING"
    assert "method=GET route=tenants/{slug} " in record.message
    assert f"problem={kind.label}" in record.message
    assert str(error) in record.message
    assert "secret-key" not in caplog.text


async def test_an_exception_is_500_without_its_text(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    fail_with(KeyError("a detail of the inside"), monkeypatch)
    response = await call("show_tenant", show_tenant())
    found = document(response)
    assert (response.status_code, found["detail"], found["type"]) == (500, INTERNAL, Kind.INTERNAL.type)
    assert b"inside" not in response.get_body()
    (record,) = caplog.records
    assert (record.levelname, record.message) == ("ERROR", "request broke off method=GET route=tenants/{slug}")
    assert "Traceback" in caplog.text
    assert "a detail of the inside" in caplog.text
    assert "secret-key" not in caplog.text


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("PUT", "tenants", "GET, POST"),
        ("POST", "tenants/acme", "DELETE, GET"),
        ("PATCH", "tenants/acme/", "DELETE, GET"),
        ("DELETE", "healthz", "GET"),
    ],
)
async def test_a_wrong_method_is_405_with_allow(method: str, path: str, allowed: str) -> None:
    response = await call("unknown_route", request(method, f"/api/{path}", b"anything", path=path))
    assert (response.status_code, response.headers["Allow"]) == (405, allowed)
    assert document(response)["type"] == Kind.METHOD_NOT_ALLOWED.type


@pytest.mark.parametrize("path", ["", "tenant", "tenants/acme/owner", "tenants//audit"])
async def test_an_unknown_path_is_404(path: str) -> None:
    response = await call("unknown_route", request("GET", f"/api/{path}?a=1", path=path))
    found = document(response)
    assert (response.status_code, found["type"], found["instance"]) == (404, Kind.NOT_FOUND.type, f"/api/{path}")
    assert "Allow" not in response.headers


@pytest.mark.parametrize(
    ("url", "path"),
    [
        ("https://a.example.com/api/x?y=/z", "/api/x"),
        ("http://127.0.0.1:7071/api/x/", "/api/x/"),
        ("https://a.example.com", "/"),
        ("/api/x", "/api/x"),
    ],
)
def test_a_path_is_without_host_and_query(url: str, path: str) -> None:
    assert request_path(func.HttpRequest(method="GET", url=url, body=b"")) == path


async def test_a_probe_may_add_what_it_likes() -> None:
    response = await call("healthz", request("GET", "/api/healthz?ts=1", b"ping"))
    assert response.status_code == 200
