"""The library finds mistakes in queries, and says what they read."""

import pytest

from tests.support.kusto.library import Comparison, check

GOOD = """
let threshold = 3;
let ended = AppTraces | where Message == "operation ended" | extend what = tostring(Properties["kind"]);
ended
| where tostring(Properties["outcome"]) in ("failed", "cancelled")
| join kind=inner (
    AppMetrics | where Name == "slots" | summarize slots = max(Max) by what = tostring(Properties.pool)
) on what
| summarize failures = sum(ItemCount) by what, bin(TimeGenerated, 1h)
| where failures > threshold
"""


@pytest.mark.parametrize(
    ("right", "wrong", "message"),
    [
        ("ItemCount", "ItemsCount", "The name 'ItemsCount' does not refer to any known column"),
        ("AppMetrics", "AppMetric", "The name 'AppMetric' does not refer to any known table"),
        ("tostring(", "tostrng(", "The name 'tostrng' does not refer to any known function"),
        ("> threshold", "> limit", "The name 'limit' does not refer to any known column"),
        ("sum(ItemCount)", "sum(Message)", "The argument value must be summable"),
        ("1h)", '"hour")', "The function 'bin' is not compatible with arguments (datetime, string)"),
        ("summarize failures", "summarise failures", "Query operator expected"),
        ("in (", "in ", "Expected: ("),
    ],
)
def test_a_mistake_is_found(right: str, wrong: str, message: str) -> None:
    assert right in GOOD
    answer = check({"good": GOOD, "bad": GOOD.replace(right, wrong)})
    assert answer["good"].problems == []
    assert [each for each in answer["bad"].problems if message in each.message], answer["bad"].problems


def test_what_a_query_reads() -> None:
    _, ended, slots = check({"query": GOOD})["query"].reads
    assert ended.tables == ["AppTraces"]
    assert set(ended.columns) == {"Message", "Properties", "ItemCount", "TimeGenerated"}
    assert set(ended.keys) == {"kind", "outcome"}
    assert ended.compared == [
        Comparison("Message", None, "EqualExpression", ["operation ended"]),
        Comparison(None, "outcome", "InExpression", ["failed", "cancelled"]),
    ]
    assert (slots.tables, slots.keys, slots.names("Name")) == (["AppMetrics"], ["pool"], ["slots"])


def test_which_columns_of_a_result_are_texts() -> None:
    assert check({"query": "AppTraces | project TimeGenerated, Message, level = tostring(SeverityLevel)"})[
        "query"
    ].texts == ["Message", "level"]
