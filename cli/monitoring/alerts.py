"""The alert rules: which query is asked how often, and from when on somebody is told."""

import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from cli.monitoring.queries import MONITORING, Query, QueryError
from shared.adapters.prices import load_prices
from shared.adapters.strict_yaml import StrictLoader
from shared.domain.prices import Price, PriceId

PRICES_OF = "westeurope"
PLACEHOLDERS = {"threshold": "{threshold}", "next_threshold": "{next_threshold}"}
WINDOWS = ("5m", "10m", "15m", "30m", "45m", "1h", "2h", "3h", "4h", "5h", "6h", "1d", "2d")
"""The times that Azure can give a query."""
NO_NEXT = 1_000_000
"""The `next_threshold` of a rule above which there is no other."""
_END_OF_TIME = datetime(9999, 1, 1, tzinfo=UTC)
_MINUTES = {"m": 1, "h": 60, "d": 24 * 60}


class Rule(BaseModel):
    """One rule; it fires while its query returns a row.

    Attributes:
        name: Its name; the resource is `berth-NAME`, and docs/runbook.md has a heading of this name.
        title: What is said to who is told.
        query: The query's name.
        severity: From 0, critical, to 4.
        every: How often the query is run.
        period: The query's `period`.
        reads: What time Azure gives the query, if it reads what is older than its period.
        threshold: The query's `threshold`, which a deployment may change; None if it has none.
        below: The rule of a higher severity whose threshold is the query's `next_threshold`.
        split: The columns of the answer of which each value has an alert of its own.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: Annotated[str, Field(pattern=r"^[a-z]+(-[a-z0-9]+)*$")]
    title: str
    query: str
    severity: Annotated[int, Field(ge=0, le=4)]
    every: Literal["1m", "5m", "10m", "15m", "30m", "1h"]
    period: Annotated[str, Field(pattern=r"^\d+[mhd]$")]
    reads: Literal["2d"] | None = None
    threshold: int | None = None
    below: str | None = None
    split: tuple[str, ...] = ()

    @property
    def window(self) -> str:
        """The shortest time that Azure can give a query and that holds the period."""
        return next(each for each in WINDOWS if minutes(each) >= minutes(self.period))

    @property
    def price(self) -> Price:
        """What it costs a month: Azure's price for the next shorter interval that it lists."""
        listed = next(each for each in (15, 10, 5, 1) if each <= minutes(self.every))
        found = load_prices().book.last_known(PriceId(f"alert:log:{listed}-min"), PRICES_OF, _END_OF_TIME)
        assert found is not None
        return found


_RULES = TypeAdapter(list[Rule])


def read_rules(path: Path = MONITORING / "alerts.yaml") -> Sequence[Rule]:
    """Return all alert rules."""
    return _RULES.validate_python(yaml.load(path.read_text(), StrictLoader))  # noqa: S506 - a safe loader


def monthly_price(rules: Iterable[Rule]) -> Decimal:
    """Return what rules cost a month."""
    return sum((each.price.amount for each in rules), Decimal(0))


def deployed_rules(rules: Iterable[Rule], queries: Mapping[str, Query]) -> Any:
    """Return what alerts.bicep loads: each rule with the text of its query, and places for its thresholds.

    Raises:
        QueryError: A rule's query does not have the parameters that the rule gives.
    """
    rules = list(rules)
    thresholds = {each.name: each.threshold for each in rules}
    return {
        "rules": [
            {
                "name": rule.name,
                "title": rule.title,
                "description": queries[rule.query].question,
                "severity": rule.severity,
                "frequency": iso_duration(rule.every),
                "window": iso_duration(rule.window),
                "reads": iso_duration(rule.reads) if rule.reads else "",
                "threshold": rule.threshold or 0,
                "below": rule.below or "",
                "nextThreshold": thresholds[rule.below] if rule.below else NO_NEXT,
                "dimensions": [{"name": each, "operator": "Include", "values": ["*"]} for each in rule.split],
                "query": _asked(rule, queries[rule.query]),
            }
            for rule in rules
        ]
    }


def _asked(rule: Rule, query: Query) -> str:
    parameters = {each.name for each in query.parameters}
    if ("threshold" in parameters) != (rule.threshold is not None):
        raise QueryError(f"of the rule {rule.name} and its query, one has a threshold and the other has not")
    if rule.below and "next_threshold" not in parameters:
        raise QueryError(f"the query of the rule {rule.name} has no next_threshold")
    places = {name: place for name, place in PLACEHOLDERS.items() if name in parameters}
    return query.filled({"period": rule.period, **places})


def minutes(duration: str) -> int:
    """Return the minutes of a duration of KQL, such as 10m."""
    found = re.fullmatch(r"(\d+)([mhd])", duration)
    assert found, duration
    return int(found[1]) * _MINUTES[found[2]]


def iso_duration(duration: str) -> str:
    """Return a duration of KQL, such as 10m, as Azure's resources want it."""
    number, unit = duration[:-1], duration[-1].upper()
    return f"P{number}D" if unit == "D" else f"PT{number}{unit}"
