"""What is deployed to Azure Monitor is made of the queries, can be deployed, and is explained."""

import json
import re
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from cli.api import Json
from cli.monitoring.alerts import (
    NO_NEXT,
    PLACEHOLDERS,
    Rule,
    deployed_rules,
    iso_duration,
    minutes,
    monthly_price,
    read_rules,
)
from cli.monitoring.generated import generated_files
from cli.monitoring.queries import MONITORING, QueryError, read_queries
from cli.monitoring.workbook import Shown, Tab, read_tabs, workbook

DOCS = MONITORING.parent.parent / "docs"
QUERIES, RULES, TABS = read_queries(), read_rules(), read_tabs()


@pytest.mark.parametrize(("path", "text"), generated_files().items(), ids=lambda each: getattr(each, "name", ""))
def test_what_is_made_is_current(path: Path, text: str) -> None:
    assert path.read_text() == text, "run: python -m cli.monitoring"


def test_each_query_is_shown_or_asked() -> None:
    shown = {each.query for tab in TABS for each in tab.queries}
    asked = {each.query for each in RULES}
    assert shown | asked == set(QUERIES)
    assert not shown & asked
    assert {name for name in QUERIES if name.startswith("alert-")} == asked


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.name)
def test_an_alerts_query_begins_with_a_table(rule: Rule) -> None:
    """Azure documents that of rules (Optimize log search alert queries), and refuses union and search there."""
    text = re.sub(r"//[^\n]*", "", QUERIES[rule.query].text)
    *named, asked = (each.strip() for each in text.split(";") if each.strip())
    begins = dict(re.findall(r"let (\w+) = (\w+)", ";".join(named)))
    first = asked.split()[0]
    assert begins.get(first, first) in {"AppMetrics", "AppTraces", "AppDependencies", "AppRequests", "AppExceptions"}
    assert not re.search(r"\b(union|search|datatable|externaldata)\b", text)


def test_a_file_that_does_not_begin_as_a_query(tmp_path: Path) -> None:
    (tmp_path / "bad.kql").write_text("// All traces\nAppTraces\n")
    with pytest.raises(QueryError, match=r"bad\.kql does not begin with `// QUESTION\?`"):
        read_queries(tmp_path)


def test_values_of_parameters() -> None:
    query = QUERIES["tenant-story"]
    text = query.filled({"slug": '"globex"'})
    assert 'let slug = "globex"; // parameter: ' in text
    assert "let period = 7d; // parameter: " in text
    with pytest.raises(QueryError, match="tenant-story has no parameter tenant"):
        query.filled({"tenant": '"globex"'})


def test_each_rule_asks_for_the_time_that_azure_gives() -> None:
    deployed: list[Json] = deployed_rules(RULES, QUERIES)["rules"]
    assert len({each["name"] for each in deployed}) == len(RULES)
    for rule, made in zip(RULES, deployed, strict=True):
        assert f"let period = {rule.period}; // parameter: " in made["query"]
        assert minutes(rule.period) <= minutes(rule.window)
        assert made["window"] == iso_duration(rule.window)
        assert ("{threshold}" in made["query"]) == (rule.threshold is not None)
        looks_back = re.findall(r"TimeGenerated > ago\(([^)]+)\)", made["query"])
        longest = max(
            sum(minutes(part) for part in each.replace("period", rule.period).split(" + ")) for each in looks_back
        )
        assert longest <= minutes(rule.reads or rule.window)
        assert made["reads"] == (iso_duration(rule.reads) if rule.reads else "")


def test_each_rule_waits_for_what_comes_late() -> None:
    for rule in RULES:
        assert minutes(rule.period) >= max(15, minutes(rule.every) + 10), rule.name


def test_a_rule_is_asked_as_its_query_is_by_default() -> None:
    for rule in RULES:
        given = {each.name: each.default for each in QUERIES[rule.query].parameters}
        assert given["period"] == rule.period, rule.name


def test_bicep_takes_all_of_a_rule() -> None:
    bicep = (MONITORING / "alerts.bicep").read_text()
    [rule, *_] = deployed_rules(RULES, QUERIES)["rules"]
    assert set(re.findall(r"\brule\.(\w+)", bicep)) == set(rule)
    for place in PLACEHOLDERS.values():
        assert f"'{place}'" in bicep


def test_each_value_of_a_split_has_an_alert_of_its_own() -> None:
    made = {each["name"]: each["dimensions"] for each in deployed_rules(RULES, QUERIES)["rules"]}
    assert made["breaker-open"] == [{"name": "cluster", "operator": "Include", "values": ["*"]}]
    assert made["failures"] == []


def test_durations_are_written_as_azure_wants_them() -> None:
    assert [iso_duration(each) for each in ("5m", "1h", "2d")] == ["PT5M", "PT1H", "P2D"]


def test_few_rules_run_every_minute_and_the_price_is_known() -> None:
    assert [each.name for each in RULES if each.every == "1m"] == ["breaker-open"]
    assert monthly_price(RULES) <= Decimal(20)
    rule = RULES[0].model_dump()
    prices = {every: Rule.model_validate({**rule, "every": every}).price.amount for every in ("1m", "5m", "10m", "1h")}
    assert prices == {"1m": Decimal(3), "5m": Decimal("1.5"), "10m": Decimal(1), "1h": Decimal("0.5")}


def test_failures_have_three_thresholds() -> None:
    found = [each for each in RULES if each.query == "alert-failures"]
    assert {each.threshold: each.severity for each in found} == {2: 3, 5: 2, 10: 1}
    assert [each.below for each in found] == [*(each.name for each in found[1:]), None]
    made = {each["name"]: each["nextThreshold"] for each in deployed_rules(RULES, QUERIES)["rules"]}
    assert [made[each.name] for each in found] == [5, 10, NO_NEXT]


def items(parent: Json) -> list[Json]:
    return [
        each for item in parent["items"] for each in [item, *(items(item["content"]) if item["type"] == 12 else [])]
    ]


def test_the_workbook_has_the_form_of_workbooks() -> None:
    made: Any = workbook(TABS, QUERIES)
    versions = {
        3: "KqlItem/1.0",
        9: "KqlParameterItem/1.0",
        11: "LinkItem/1.0",
        12: "NotebookGroup/1.0",
    }
    every = items(made)
    assert len({each["name"] for each in every}) == len(every)
    assert {each["type"] for each in every} == {1, *versions}
    for each in every:
        assert each["content"].get("version") == versions.get(each["type"])
    [links] = [each["content"]["links"] for each in every if each["type"] == 11]
    groups = [each["conditionalVisibility"] for each in every if each["type"] == 12]
    assert [(each["cellValue"], each["subTarget"]) for each in links] == [
        (each["parameterName"], each["value"]) for each in groups
    ]


def test_the_workbook_has_no_parameter_that_nobody_gives() -> None:
    made: Any = workbook(TABS, QUERIES)
    [parameters] = [each["content"]["parameters"] for each in items(made) if each["type"] == 9]
    given = {each["name"] for each in parameters}
    used = {
        name for each in items(made) if each["type"] == 3 for name in re.findall(r"\{(\w+)", each["content"]["query"])
    }
    assert used == given == {"TimeRange", "Tenant", "Operation"}


def test_a_query_about_two_times_keeps_its_period() -> None:
    with pytest.raises(QueryError, match="alert-failures uses its period for more"):
        workbook([Tab(title="A", queries=[Shown(query="alert-failures")])], QUERIES)
    made: Any = workbook([Tab(title="A", queries=[Shown(query="stuck", own_period=True)])], QUERIES)
    [shown] = [each["content"] for each in items(made) if each["type"] == 3]
    assert "let period = 1d;" in shown["query"]
    assert "timeContextFromParameter" not in shown


def test_a_query_about_ends_is_given_what_began_before() -> None:
    made: Any = workbook([Tab(title="A", queries=[Shown(query="failed-operations")])], QUERIES)
    [shown] = [each["content"] for each in items(made) if each["type"] == 3]
    assert "TimeGenerated > {TimeRange:start} - 2d and" in shown["query"]
    assert "where ended {TimeRange:query}\n" in shown["query"]
    assert "timeContextFromParameter" not in shown


def test_the_runbook_has_each_rule_and_names_its_query() -> None:
    parts = dict(re.findall(r"^### ([\w-]+)\n(.*?)(?=^##)", (DOCS / "runbook.md").read_text() + "##", re.M | re.S))
    assert list(parts) == [each.name for each in RULES]
    for name, part in parts.items():
        for word in ("**Means**", "**Look**", "**Do**"):
            assert word in part, f"{name}: {word}"
        linked = re.findall(r"queries/([\w-]+)\.kql", part)
        assert linked, name
        assert set(linked) <= set(QUERIES)


def test_the_runbook_has_each_timer() -> None:
    source = (DOCS.parent / "functions/timers.py").read_text()
    timers = re.findall(r"@bp\.timer_trigger.*?async def (\w+)", source, re.S)
    runbook = (DOCS / "runbook.md").read_text()
    assert len(timers) >= 9
    assert re.findall(r"^\| `(\w+)` \|", runbook, re.M) == timers


# Parts of timers that have an alert of their own, or may be switched off.
OTHERWISE = {
    "starting the sweep": "sweep-missing",
    "metering": "ledger-late",
    "asking the metrics": "signal-silent",
    "refreshing the prices": None,
}


def test_each_part_of_a_timer_has_an_alert() -> None:
    source = (DOCS.parent / "functions/timers.py").read_text()
    parts = re.findall(r'_until_next_time\("([^"]+)"', source)
    watched = [
        part
        for rule in ("timers-silent", "timer-late")
        for names in re.findall(r"dynamic\(\[([^\]]+)\]\)", QUERIES[f"alert-{rule}"].text)
        for part in re.findall(r'"([^"]+)"', names)
    ]
    assert sorted([*watched, *OTHERWISE]) == sorted(parts)
    assert {each for each in OTHERWISE.values() if each} <= {each.name for each in RULES}


def test_the_settings_of_the_runbook_exist() -> None:
    known = set(re.findall(r"`(BERTH_\w+)`", (DOCS / "settings.md").read_text()))
    used = set(re.findall(r"BERTH_[A-Z_]+(?!\*)\b", (DOCS / "runbook.md").read_text()))
    assert used - known <= {"BERTH_URL", "BERTH_KEY"}


def test_nothing_of_it_is_deployed_with_the_app() -> None:
    assert "infra/monitoring" in (DOCS.parent / ".funcignore").read_text().splitlines()


def test_what_bicep_loads_exists() -> None:
    for path in MONITORING.glob("*.bicep"):
        for name in re.findall(
            r"(?:loadJsonContent|loadTextContent)\('([^']+)'\)|^module \w+ '([^']+)'", path.read_text(), re.M
        ):
            assert (MONITORING / "".join(name)).exists(), f"{path.name}: {name}"
    assert json.loads((MONITORING / "alerts.json").read_text())["rules"]
