"""The API's description lists exactly the app's functions, and its schemas have the rules that requests must meet."""

import itertools
import json
import re
import tomllib
from pathlib import Path
from typing import Any, NamedTuple, cast

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from openapi_spec_validator import validate

from cli.api import Json
from functions.http.api import ROUTES
from functions.http.openapi import VERSION, document
from functions.http.problems import Kind
from functions.http.reference import problem_pages
from functions.http.requests import Signup
from shared.domain.slugs import RESERVED, check_slug
from tests.support.builders import PLANS
from tests.support.registered import registered_functions

ROOT = Path(__file__).parents[3]
DOCUMENT: Json = json.loads(document(ROUTES, plans=PLANS))
CATCH_ALL = "unknown_route"
LEVELS = {(): "anonymous", ("functionKey",): "function", ("masterKey",): "admin"}


class Registered(NamedTuple):
    """One method of one HTTP function."""

    name: str
    method: str
    path: str
    level: str


def registered() -> list[Registered]:
    found: list[Registered] = []
    for function in registered_functions().values():
        trigger = function.get_trigger()
        assert trigger is not None
        binding = cast("dict[str, Any]", trigger.get_dict_repr())
        if binding["type"] == "httpTrigger":
            name, path, level = (
                str(function.get_function_name()),
                f"/api/{binding['route']}",
                binding["authLevel"].value,
            )
            methods = [method.value for method in binding.get("methods") or ()] or ["*"]
            found += [Registered(name, method, path, level) for method in methods]
    return found


def operations() -> list[tuple[str, str, Json]]:
    return [
        (path, method, operation)
        for path, methods in DOCUMENT["paths"].items()
        for method, operation in methods.items()
    ]


def problems(operation: Json) -> set[str]:
    return set(re.findall(r'"/api/problems/([a-z-]+)"', json.dumps(operation["responses"])))


def test_the_document_is_valid() -> None:
    validate(DOCUMENT)
    assert (
        DOCUMENT["info"]["version"]
        == VERSION
        == tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    )


def test_the_operations_are_the_functions() -> None:
    described = {
        Registered(
            each["operationId"], method.upper(), path, LEVELS[tuple(name for key in each["security"] for name in key)]
        )
        for path, method, each in operations()
    }
    assert described == {each for each in registered() if each.name != CATCH_ALL and ROUTES[each.name].described}


def test_every_parameter_of_a_path_is_described() -> None:
    for path, _, operation in operations():
        described = [each["name"] for each in operation["parameters"] if each["in"] == "path"]
        assert described == re.findall(r"\{(\w+)\}", path)


def test_routes_with_a_key_describe_the_401_of_the_host() -> None:
    for _, _, operation in operations():
        response = operation["responses"].get("401")
        assert (response is None) == (operation["security"] == [])
        assert response is None or "content" not in response


def test_every_problem_has_a_page_and_a_route() -> None:
    labels = {kind.label for kind in Kind}
    assert set(problem_pages()) == labels
    by_operations = set[str]().union(*(problems(operation) for _, _, operation in operations()))
    elsewhere = {Kind.METHOD_NOT_ALLOWED, Kind.SIGN_IN, Kind.FORBIDDEN}  # of the catch-all route, and of pages
    assert by_operations == labels - {kind.label for kind in elsewhere}


@pytest.mark.parametrize("kind", Kind)
def test_a_page_shows_a_document_of_its_kind(kind: Kind) -> None:
    page = problem_pages()[kind.label]
    assert page.startswith(f"# {kind.label}\n")
    assert "**What to do**" in page
    assert "**Retrying the same request**" in page
    [shown] = re.findall(r"```json\n(.*?)```", page, re.DOTALL)
    problem = json.loads(shown)
    assert (problem["type"], problem["title"], problem["status"]) == (kind.type, kind.title, kind.status)
    schema = DOCUMENT["components"]["schemas"]["Problem"] | {"components": DOCUMENT["components"]}
    Draft202012Validator(schema).validate(problem)


def test_the_catch_all_comes_after_all_others() -> None:
    # The real host tries routes in this order, and gives a request to the first that has its path and method.
    assert max(each.name for each in registered()) == CATCH_ALL
    assert [each.path for each in registered() if each.name == CATCH_ALL] == ["/api/{*path}"]


def test_no_two_routes_take_the_same_request() -> None:
    others = [each for each in registered() if each.name != CATCH_ALL]
    for one, other in itertools.combinations(others, 2):
        assert one.method != other.method or not overlap(one.path.split("/"), other.path.split("/")), (one, other)


def overlap(one: list[str], other: list[str]) -> bool:
    alike = (a == b or "{" in a + b for a, b in zip(one, other, strict=False))
    return len(one) == len(other) and all(alike)


@pytest.mark.parametrize("schema", [each for each in DOCUMENT["components"]["schemas"] if each != "Dependencies"])
def test_no_schema_accepts_unknown_fields(schema: str) -> None:
    rules = DOCUMENT["components"]["schemas"][schema]
    assert rules["type"] == "string" or rules["additionalProperties"] is False


@given(st.one_of(st.text("abz09-_. Aé", max_size=45), st.from_regex(r"[a-z][a-z0-9-]{1,41}", fullmatch=True)))
@example("kube-x")
@example("a--b")
def test_the_schema_has_the_rule_for_slugs(text: str) -> None:
    rules = Draft202012Validator(DOCUMENT["components"]["schemas"]["Signup"]["properties"]["slug"])
    assert rules.is_valid(text) == (check_slug(text) is None)


@pytest.mark.parametrize("name", sorted(RESERVED))
def test_the_schema_rejects_the_reserved_names(name: str) -> None:
    assert not Draft202012Validator(DOCUMENT["components"]["schemas"]["Signup"]["properties"]["slug"]).is_valid(name)


def test_the_examples_are_a_valid_signup() -> None:
    fields = DOCUMENT["components"]["schemas"]["Signup"]["properties"]
    Signup.model_validate({name: (rule.get("examples") or rule["enum"])[0] for name, rule in fields.items()})
