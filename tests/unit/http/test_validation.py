"""What a caller reads about a wrong field: sentences of berth's own, whatever pydantic says."""

import json
from typing import Any

import azure.functions as func
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

from functions.http.requests import ClusterChange, ClusterRegistration, Retry, Signup
from functions.http.route import LIMIT, NEXT, Parameter, Route, ok
from functions.http.validation import UNKNOWN, check_query_and_body, read
from shared.domain.lifecycle import TenantState
from shared.errors import Invalid
from tests.support.builders import registration_body, signup_body

ACCESS = {"kubeconfig_context": "local", "server": "https://a", "ca_pem": "a"}
# Bodies whose fields the tests replace. The last is not valid, but has every field of `access`.
BODIES: list[tuple[type[BaseModel], dict[str, Any]]] = [
    (Signup, signup_body("acme", version="1.0.0")),
    (Retry, {"version": "1.0.0"}),
    (ClusterChange, {"state": "open", "capacity": 1}),
    (ClusterRegistration, registration_body(state="open", access=ACCESS)),
]
VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(max_size=3),
    st.sampled_from(["a" * 20_001, "a@b", "https://a:1:2", "https://a:65536", "https://[", "1" * 41]),
    st.lists(st.integers(), max_size=2),
    st.dictionaries(st.text(max_size=2), st.integers(), max_size=2),
)
OF_PYDANTIC = (" should ", "Input", "Extra inputs", "value is not", "Value error", "out of range", "cast to")


def errors(model: type[BaseModel], body: object) -> dict[str, str]:
    """Return what is wrong with a body, by pointer."""
    request = func.HttpRequest(
        method="POST", url="/", headers={"Content-Type": "application/json"}, body=json.dumps(body).encode()
    )
    try:
        read(request, model)
    except Invalid as error:
        return dict(error.errors)
    return {}


@pytest.mark.parametrize(
    ("field", "value", "sentence"),
    [
        ("region", "Local", "give text of the form ^[a-z0-9-]+$"),
        ("region", "", "use 1 or more characters"),
        ("region", "a" * 41, "use at most 40 characters"),
        ("region", 1, "give text"),
        ("display_name", "", "use 1 or more characters"),
        ("display_name", "a" * 101, "use at most 100 characters"),
        ("email", "owner", "give a valid e-mail address"),
        ("email", "owner@localhost", "give a valid e-mail address"),
        ("slug", "a", "use 3 to 40 characters"),
        ("owner", "a", "there is no such field"),
    ],
)
def test_a_wrong_field_of_a_signup_gets_a_sentence(field: str, value: object, sentence: str) -> None:
    assert errors(Signup, {**signup_body("acme"), field: value}) == {f"/{field}": sentence}


@pytest.mark.parametrize(
    ("field", "value", "sentence"),
    [
        ("capacity", 0, "give a number that is at least 1"),
        ("capacity", 100_001, "give a number that is at most 100000"),
        ("capacity", 1.5, "give a whole number"),
        ("state", "closed", "give one of: open, cordoned"),
        ("access", [], "give a JSON object"),
        ("gateway", [], "give a JSON object"),
    ],
)
def test_a_wrong_field_of_a_cluster_gets_a_sentence(field: str, value: object, sentence: str) -> None:
    assert errors(ClusterRegistration, registration_body(**{field: value})) == {f"/{field}": sentence}


def test_a_wrong_filter_gets_a_sentence() -> None:
    state = Parameter("query", "state", TenantState, "Only those in this state.")
    parameters = (state, LIMIT, NEXT)
    route = Route(method="GET", path="a", summary="", responses=ok("", str), problems=(), parameters=parameters)
    with pytest.raises(Invalid) as raised:
        check_query_and_body(func.HttpRequest(method="GET", url="/a?state=ACTIVE&limit=0", body=b""), route)
    assert dict(raised.value.errors) == {
        "?state": "give one of: provisioning, active, failed, deleting, deleted",
        "?limit": "give a number that is at least 1",
    }


@pytest.mark.parametrize("address", ["jane.doe", "jane.doe@", "jane..doe@example.com", "jane.doe@exa_mple.com"])
def test_a_wrong_address_is_not_repeated(address: str) -> None:
    texts = errors(Signup, signup_body("acme", email=address))
    assert texts == {"/email": "give a valid e-mail address"}


@given(st.data())
def test_no_text_is_of_pydantic(data: st.DataObject) -> None:
    model, body = data.draw(st.sampled_from(BODIES))
    field, value = data.draw(st.sampled_from(sorted(body))), data.draw(VALUES)
    if field == "access" and data.draw(st.booleans()):
        value = {**ACCESS, data.draw(st.sampled_from(sorted(ACCESS))): value}
    for text in errors(model, {**body, field: value}).values():
        assert text != UNKNOWN
        assert not any(phrase in text for phrase in OF_PYDANTIC), text


@pytest.mark.parametrize(
    "name",
    [
        "\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645",  # Persian
        "\u0d05\u0d35\u0d30\u0d4d\u200d \u0d15\u0d1f",  # Malayalam: a word ends with it
        "crew \U0001f469\u200d\U0001f680",
        "\U0001f468\U0001f3fd\u200d\U0001f4bb",
    ],
)
def test_a_joiner_within_a_word_or_an_emoji_is_accepted(name: str) -> None:
    assert Signup.model_validate(signup_body("acme", display_name=name)).display_name == name


@pytest.mark.parametrize("name", ["\u200da", "a\u200d", "a\u200d\u200cb", "a \u200db", "a\u200bb", "a\u202eb", "a\nb"])
def test_any_other_invisible_character_is_refused(name: str) -> None:
    assert set(errors(Signup, signup_body("acme", display_name=name))) == {"/display_name"}
