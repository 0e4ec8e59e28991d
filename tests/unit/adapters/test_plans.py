"""The document of plans: what is deployed is good, and everything that is wrong is in one message."""

from pathlib import Path

import pytest

from shared.adapters.plans import FILE, PlansError, load_plans
from shared.domain.plans import Plan, plan_of
from shared.domain.policy import DormancyPolicy
from shared.errors import NoRoom

SMALL = """
plans:
  tiny: {cpu_request: 100m, cpu_limit: 1, memory_request: 1Gi, memory_limit: 2Gi, ephemeral_storage: 2Gi,
    scratch: 1Gi, volume: 4Gi, priority: low, weight: 3}
"""


def loaded(directory: Path, text: str) -> dict[str, Plan]:
    path = directory / "plans.yaml"
    path.write_text(text)
    return dict(load_plans(path))


def complaint(directory: Path, text: str) -> str:
    with pytest.raises(PlansError) as caught:
        loaded(directory, text)
    return str(caught.value)


def test_the_deployed_document_is_good() -> None:
    plans = load_plans()
    assert list(plans) == ["trial", "standard", "business"]
    assert [plan.dormancy.exempt for plan in plans.values()] == [False, True, True]


def test_a_plan_has_what_the_document_says(tmp_path: Path) -> None:
    text = SMALL.replace("weight: 3}", "weight: 3, storage_class: fast, dormancy: {idle_days: 2, exempt: true}}")
    policy = DormancyPolicy(idle_days=2, never_active_days=14, exempt=True)
    expected = Plan("tiny", "100m", "1", "1Gi", "2Gi", "2Gi", "1Gi", "4Gi", "fast", "low", 3, policy)
    assert loaded(tmp_path, text) == {"tiny": expected}


def test_what_is_left_out_has_its_default(tmp_path: Path) -> None:
    plan = loaded(tmp_path, SMALL)["tiny"]
    assert (plan.storage_class, plan.dormancy) == ("", DormancyPolicy(7, 14))


def test_every_mistake_is_in_one_message(tmp_path: Path) -> None:
    text = """
plans:
  tiny: {cpu_request: 1.5, cpu_limit: 1, memory_request: 1G, memory_limit: 2Gi, volume: 4Gi, wieght: 3}
  Large: {}
  wide: {cpu_request: 2, cpu_limit: 1500m, memory_request: 1Gi, memory_limit: 2Gi, ephemeral_storage: 1Gi,
         scratch: 1Gi, volume: 4Gi, priority: low, weight: 1}
  full: {cpu_request: 2, cpu_limit: 2, memory_request: 1Gi, memory_limit: 2Gi, ephemeral_storage: 1Gi,
         scratch: 2Gi, volume: 4Gi, priority: low, weight: 1}
  long: {cpu_request: 1, cpu_limit: 1, memory_request: 1Gi, memory_limit: 512Mi, volume: 4Gi, weight: 0,
         dormancy: {idle_days: 0, never: 3}}
plan: {}
"""
    message = complaint(tmp_path, text)
    assert message.startswith("the document of plans, plans.yaml, is wrong:\n")
    for place in (
        "plans.tiny.cpu_request: ",
        "plans.tiny.memory_request: ",
        "plans.tiny.weight: ",
        "plans.tiny.wieght: ",
        "plans.Large.[key]: ",
        "plans.Large.volume: ",
        "plans.wide: Value error, the request 2 is larger than the limit 1500m",
        "plans.full: Value error, scratch, 2Gi, is larger than ephemeral_storage, 1Gi",
        "plans.long.weight: ",
        "plans.long.dormancy.idle_days: ",
        "plans.long.dormancy.never: ",
        "plan: ",
    ):
        assert f"\n  {place}" in message


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("", "Input should be"),
        ("plans: {}", "plans: Dictionary should have at least 1 item"),
        ("plans: [", "line 2, column 1"),
        (SMALL + SMALL.replace("plans:", ""), "the key tiny occurs twice"),
    ],
)
def test_what_is_no_document_says_why(tmp_path: Path, text: str, part: str) -> None:
    assert part in complaint(tmp_path, text)


def test_a_missing_document_says_so(tmp_path: Path) -> None:
    with pytest.raises(PlansError, match="No such file"):
        load_plans(tmp_path / "plans.yaml")


def test_a_smaller_memory_limit_is_refused(tmp_path: Path) -> None:
    assert "the request 1Gi is larger than the limit 512Mi" in complaint(tmp_path, SMALL.replace("2Gi", "512Mi"))


def test_a_plan_that_is_gone_says_what_to_do() -> None:
    with pytest.raises(NoRoom, match="there is no plan gold any more") as caught:
        plan_of(load_plans(), "gold")
    assert caught.value.remedy == f"put the plan gold back into shared/{FILE.name}"
