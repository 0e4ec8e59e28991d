"""The input and output of orchestrators and activities, and the names under which these are registered."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.domain.lifecycle import RULES, OperationKind
from shared.domain.operations import OperationId
from shared.domain.slugs import Slug
from shared.domain.workflow import SWEEP_ACTIVITY, SWEEP_ORCHESTRATOR, Activity, Outcome, Verdict, Work
from tests.support.registered import registered_functions

SECONDS = st.floats(0, 1e6)

ORCHESTRATORS = [rules.orchestrator for rules in RULES.values()]


def through_json(value: dict[str, Any]) -> dict[str, Any]:
    return json.loads(json.dumps(value))


@given(st.builds(Work, st.text().map(Slug), st.text().map(OperationId), st.text()))
def test_work_survives_json(work: Work) -> None:
    assert Work.decode(through_json(work.encode())) == work


@given(st.builds(Outcome, st.sampled_from(Verdict), st.text(), SECONDS))
def test_an_outcome_survives_json(outcome: Outcome) -> None:
    decoded = Outcome.decode(through_json(outcome.encode()))
    assert decoded == outcome
    assert isinstance(decoded.verdict, Verdict)


def test_an_unknown_verdict_is_an_error() -> None:
    with pytest.raises(ValueError, match="perhaps"):
        Outcome.decode({"verdict": "perhaps", "reason": "", "wait": 0})


def test_every_kind_has_its_own_orchestrator() -> None:
    assert len(set(ORCHESTRATORS)) == len(RULES) == len(OperationKind)


@pytest.mark.parametrize(
    ("name", "trigger"),
    [
        *((name, "orchestrationTrigger") for name in (*ORCHESTRATORS, SWEEP_ORCHESTRATOR)),
        *((name, "activityTrigger") for name in (*Activity, SWEEP_ACTIVITY)),
    ],
)
def test_every_name_is_registered(name: str, trigger: str) -> None:
    assert registered_functions()[name].get_trigger().type == trigger


def test_every_registered_activity_has_a_name_here() -> None:
    registered = {name for name, each in registered_functions().items() if each.get_trigger().type == "activityTrigger"}
    assert {name for name in registered if not name.startswith("BuiltIn__")} == {*Activity, SWEEP_ACTIVITY}
