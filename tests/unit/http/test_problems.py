"""Which problem each error is to a caller."""

import json
from collections.abc import Iterator

import azure.functions as func
import pytest

from functions.http.problems import DEFAULT_RETRY_AFTER, INTERNAL, Kind, Problem, ProblemError, problem_of
from functions.http.reference import problem_pages
from shared import errors
from shared.domain.clusters import ClusterState
from shared.domain.placement import candidates
from shared.errors import (
    BerthError,
    ChangedMeanwhile,
    Conflict,
    Forbidden,
    Invalid,
    KeyReused,
    NoRoom,
    NotFound,
    NotOurs,
    Permanent,
    QueueFull,
    TooMany,
    Transient,
    Unauthenticated,
    Unfit,
    Unreachable,
    WrongRegistration,
)
from tests.support.builders import new_cluster
from tests.support.html_page import elements
from tests.support.registered import registered_functions
from tests.support.waiting_room import BROWSER

# Each class with the status and the kind of its problem.
EXPECTED: dict[type[BerthError], tuple[int, Kind]] = {
    BerthError: (500, Kind.INTERNAL),
    NotFound: (404, Kind.NOT_FOUND),
    Conflict: (409, Kind.CONFLICT),
    ChangedMeanwhile: (409, Kind.CONFLICT),
    Unfit: (409, Kind.CLUSTER_UNFIT),
    NoRoom: (409, Kind.NO_ROOM),
    KeyReused: (422, Kind.KEY_REUSED),
    Transient: (503, Kind.UNAVAILABLE),
    Unreachable: (503, Kind.UNAVAILABLE),
    Unauthenticated: (503, Kind.UNAVAILABLE),
    WrongRegistration: (503, Kind.UNAVAILABLE),
    QueueFull: (429, Kind.QUEUE_FULL),
    TooMany: (429, Kind.TOO_MANY_REQUESTS),
    Permanent: (502, Kind.DEPENDENCY_REFUSED),
    Forbidden: (502, Kind.DEPENDENCY_REFUSED),
    NotOurs: (502, Kind.DEPENDENCY_REFUSED),
    Invalid: (422, Kind.INVALID_REQUEST),
}


def error_of(kind: type[BerthError]) -> BerthError:
    return Invalid(("/slug", "it is wrong")) if kind is Invalid else kind("it is wrong")


def error_classes() -> Iterator[type[BerthError]]:
    for value in vars(errors).values():
        if isinstance(value, type) and issubclass(value, BerthError):
            yield value


def test_every_error_class_has_a_problem() -> None:
    assert set(error_classes()) == set(EXPECTED)


@pytest.mark.parametrize("kind", EXPECTED)
def test_an_error_is_a_problem(kind: type[BerthError]) -> None:
    problem = problem_of(error_of(kind))
    assert (problem.kind.status, problem.kind) == EXPECTED[kind]
    assert ("Retry-After" in problem.headers) == issubclass(kind, Transient)
    assert problem.detail


@pytest.mark.parametrize("kind", [NotFound, Conflict, KeyReused, Permanent])
def test_the_caller_reads_the_text_of_an_error(kind: type[BerthError]) -> None:
    assert problem_of(kind("it is wrong")).detail == "it is wrong"


def test_a_subclass_is_the_problem_of_its_class() -> None:
    assert problem_of(Forbidden("no")).kind is Kind.DEPENDENCY_REFUSED


@pytest.mark.parametrize(
    ("wait", "header"),
    [(None, DEFAULT_RETRY_AFTER), (0.0, DEFAULT_RETRY_AFTER), (0.2, 1), (1.0, 1), (7.4, 7), (60.0, 60)],
)
@pytest.mark.parametrize("kind", [Transient, QueueFull])
def test_retry_after_is_whole_seconds(kind: type[Transient], wait: float | None, header: int) -> None:
    problem = problem_of(kind("away", wait))
    assert problem.headers == {"Retry-After": str(header)}
    assert problem.detail == f"away. Send the same request again in {header} s."


def test_an_invalid_request_names_what_is_wrong() -> None:
    problem = problem_of(Invalid(("/slug", "it is taken"), ("?limit", "too large")))
    assert problem.errors == (("/slug", "it is taken"), ("?limit", "too large"))
    assert "`errors`" in problem.detail


def test_no_room_says_what_the_operators_can_do() -> None:
    assert problem_of(NoRoom("it is full")).detail.endswith("tell the operators, who can add capacity.")
    with pytest.raises(NoRoom) as raised:
        candidates([new_cluster(state=ClusterState.CORDONED)], region="local", weight=1, max_starting=1)
    assert problem_of(raised.value).detail.endswith("tell the operators, who can uncordon a cluster or add one.")


def test_all_that_a_cluster_lacks_is_named() -> None:
    missing = ("/access", "it has no storage"), ("/gateway", "there is no gateway a/b")
    assert problem_of(Unfit("cluster one was not registered", *missing)).errors == missing


def test_an_unknown_error_keeps_its_text() -> None:
    class Unknown(BerthError):
        pass

    problem = problem_of(Unknown("a detail of the inside"))
    assert problem == Problem(Kind.INTERNAL, INTERNAL)
    assert "inside" not in problem.detail


def test_a_problem_error_holds_its_problem() -> None:
    problem = Problem(Kind.TOO_LARGE, "Send less.", headers={"Allow": "GET"})
    error = ProblemError(problem)
    assert (error.problem, str(error)) == (problem, "Send less.")


async def explained(label: str, accept: str) -> func.HttpResponse:
    """Return how berth explains a kind of problem."""
    url = f"https://berth.example.com/api/problems/{label}"
    req = func.HttpRequest(method="GET", url=url, headers={"Accept": accept}, route_params={"kind": label}, body=b"")
    return await registered_functions()["show_problem"].get_user_function()(req)


@pytest.mark.parametrize("kind", Kind)
async def test_a_browser_gets_a_page(kind: Kind) -> None:
    response = await explained(kind.label, BROWSER["Accept"])
    assert (response.mimetype, response.headers["Vary"]) == ("text/html", "Accept")
    found = elements(response.get_body().decode())
    assert [each.text for each in found if each.tag == "h1"] == [kind.title]
    assert "What to do" in {each.text for each in found if each.tag == "strong"}
    assert json.loads(next(each.text for each in found if each.tag == "pre"))["type"] == kind.type
    assert all(each.attributes["href"].startswith(("/", "#")) for each in found if each.tag == "a")


@pytest.mark.parametrize("accept", ["", "*/*", "application/json", "text/markdown"])
async def test_a_program_gets_markdown(accept: str) -> None:
    response = await explained("conflict", accept)
    assert (response.mimetype, response.headers["Vary"]) == ("text/markdown", "Accept")
    assert response.get_body().decode() == problem_pages()["conflict"]


@pytest.mark.parametrize(("accept", "kind"), [(BROWSER["Accept"], "text/html"), ("*/*", "application/problem+json")])
async def test_an_unknown_kind_is_not_found(accept: str, kind: str) -> None:
    response = await explained("nothing", accept)
    assert (response.status_code, response.mimetype) == (404, kind)


def test_kinds_are_distinct_errors_with_a_page() -> None:
    assert len({kind.label for kind in Kind}) == len({kind.title for kind in Kind}) == len(Kind)
    assert all(400 <= kind.status < 600 for kind in Kind)
    assert {kind.type.removeprefix("/api/problems/") for kind in Kind} == set(problem_pages())
