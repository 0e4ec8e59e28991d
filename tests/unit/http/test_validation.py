"""What a caller reads about a wrong field: sentences of berth's own, whatever pydantic says."""

import json
from datetime import UTC, datetime
from typing import Any

import azure.functions as func
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

from functions.http.requests import (
    ActivityBatch,
    ActivityReport,
    ClusterChange,
    ClusterRegistration,
    PolicyOverride,
    Retry,
    Signup,
)
from functions.http.route import LIMIT, NEXT, Parameter, Route, ok
from functions.http.validation import UNKNOWN, check_query_and_body, read
from shared.domain import policy
from shared.domain.lifecycle import TenantState
from shared.errors import Invalid
from tests.support.builders import registration_body, signup_body

TIME = "2026-03-01T12:00:00Z"
ACCESS = {"kubeconfig_context": "local", "server": "https://a", "ca_pem": "a"}
# Bodies whose fields the tests replace. The last is not valid, but has every field of `access`.
BODIES: list[tuple[type[BaseModel], dict[str, Any]]] = [
    (Signup, signup_body("acme", version="1.0.0")),
    (Retry, {"version": "1.0.0"}),
    (PolicyOverride, {"idle_days": 1, "never_active_days": 1, "exempt": True, "keep_awake_until": TIME}),
    (ActivityReport, {"at": TIME, "source": "agent"}),
    (ActivityBatch, {"source": "agent", "cluster": "one", "entries": [], "watched": {"since": TIME, "until": TIME}}),
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


NO_TIME = "give a time with its zone, of this millennium, such as 2026-03-01T12:00:00Z"


@pytest.mark.parametrize(
    ("field", "value", "sentence"),
    [
        ("idle_days", 0, "give a number that is at least 1"),
        ("idle_days", 3651, "give a number that is at most 3650"),
        ("never_active_days", "3", "give a whole number"),
        ("exempt", "yes", "give true or false"),
        ("exempt", 1, "give true or false"),
        ("keep_awake_until", 1_800_000_000, NO_TIME),
        ("keep_awake_until", "2026-03-01T12:00:00", NO_TIME),
        ("keep_awake_until", "2026-03-01", NO_TIME),
        ("keep_awake_until", "2026-02-30T12:00:00Z", NO_TIME),
        ("keep_awake_until", "1999-03-01T12:00:00Z", NO_TIME),
        ("keep_awake_until", "2026-03-01T12:00:00Z\n", NO_TIME),
        ("idle", 1, "there is no such field"),
    ],
)
def test_a_wrong_field_of_a_policy_gets_a_sentence(field: str, value: object, sentence: str) -> None:
    assert errors(PolicyOverride, {field: value}) == {f"/{field}": sentence}


@pytest.mark.parametrize(
    "text", ["2026-03-01T12:00:00Z", "2026-03-01T14:00:00.000+02:00", "2026-03-01T12:00:00.000000000Z"]
)
def test_a_time_is_read_in_utc(text: str) -> None:
    override = PolicyOverride.model_validate({"keep_awake_until": text}).to_domain()
    assert override == policy.PolicyOverride(keep_awake_until=datetime(2026, 3, 1, 12, tzinfo=UTC))


WRONG_BATCHES: list[tuple[str, Any, str, str]] = [
    ("source", "Agent", "/source", "give text of the form ^[a-z]([a-z0-9-]{0,38}[a-z0-9])?$"),
    ("entries", [{}], "/entries/0", "give either a slug or a namespace"),
    ("entries", [{"slug": "acme", "namespace": "tenant-a"}], "/entries/0", "give either a slug or a namespace"),
    ("entries", [{"slug": "A"}], "/entries/0/slug", "use 3 to 40 characters"),
    ("entries", [{"slug": "acme"}] * 501, "/entries", "give at most 500 entries"),
    ("entries", {}, "/entries", "give a list"),
    ("entries", [{"namespace": "tenant-a"}], "", "name the cluster on which the namespaces are"),
    ("watched", {"since": TIME}, "/watched/until", "this field is required"),
    ("watched", {"since": TIME, "until": "2026-02-01T00:00:00Z"}, "/watched", "the end is before the beginning"),
]


@pytest.mark.parametrize(("field", "value", "pointer", "sentence"), WRONG_BATCHES)
def test_a_wrong_field_of_a_batch_gets_a_sentence(field: str, value: object, pointer: str, sentence: str) -> None:
    assert errors(ActivityBatch, {"source": "agent", field: value}) == {pointer: sentence}


def test_null_is_as_the_plan_says() -> None:
    names = ("idle_days", "never_active_days", "exempt", "keep_awake_until")
    assert PolicyOverride.model_validate(dict.fromkeys(names)).to_domain() == policy.NO_OVERRIDE


def test_a_wrong_filter_gets_a_sentence() -> None:
    state = Parameter("query", "state", TenantState, "Only those in this state.")
    parameters = (state, LIMIT, NEXT)
    route = Route(method="GET", path="a", summary="", responses=ok("", str), problems=(), parameters=parameters)
    with pytest.raises(Invalid) as raised:
        check_query_and_body(func.HttpRequest(method="GET", url="/a?state=ACTIVE&limit=0", body=b""), route)
    assert dict(raised.value.errors) == {
        "?state": "give one of: provisioning, active, hibernating, hibernated, waking, failed, deleting, deleted",
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
