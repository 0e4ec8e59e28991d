"""The workbook: tabs of queries, in the form that Azure's workbooks are saved in.

The form is that of the published workbooks and their schema (github.com/microsoft/Application-Insights-Workbooks).
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal
from uuid import NAMESPACE_URL, uuid5

import yaml
from pydantic import BaseModel, ConfigDict, TypeAdapter

from cli.monitoring.queries import MONITORING, Query, QueryError
from shared.adapters.strict_yaml import StrictLoader

_WORKSPACE = {"queryType": 0, "resourceType": "microsoft.operationalinsights/workspaces"}
# A query about what ended within the time range looks at what began before it, too.
_OWN = re.compile(r"> ago\(period\)")
_OWN_BEFORE = re.compile(r"> ago\(period \+ (\d+d)\)")
_TEXT, _TIME_RANGE = 1, 4  # kinds of parameter
_MARKDOWN, _QUERY, _PARAMETERS, _LINKS, _GROUP = 1, 3, 9, 11, 12  # kinds of item
_DAY = 24 * 3600 * 1000
_RANGES = [_DAY // 24, _DAY // 4, _DAY, 7 * _DAY, 14 * _DAY, 30 * _DAY, 90 * _DAY]
_INPUTS = {"Tenant": "a tenant's slug", "Operation": "an operation's id"}


class Shown(BaseModel):
    """A query on a tab.

    Attributes:
        query: The query's name.
        shown_as: How the answer is shown.
        half: Whether it takes half of the width.
        own_period: Whether it keeps its own period, whatever time range is picked: what is about now.
        values: Values of its parameters; `{Tenant}` and `{Operation}` are what is entered above.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    query: str
    shown_as: Literal["table", "linechart", "barchart", "areachart"] = "table"
    half: bool = False
    own_period: bool = False
    values: Mapping[str, str] = {}


class Tab(BaseModel):
    """A tab of the workbook."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    title: str
    queries: Sequence[Shown]


_TABS = TypeAdapter(list[Tab])


def read_tabs(path: Path = MONITORING / "tabs.yaml") -> Sequence[Tab]:
    """Return the tabs of the workbook."""
    return _TABS.validate_python(yaml.load(path.read_text(), StrictLoader))  # noqa: S506 - a safe loader


def workbook(tabs: Iterable[Tab], queries: Mapping[str, Query]) -> Any:
    """Return the workbook. Raises QueryError for a query that cannot be shown as a tab wants."""
    tabs = list(tabs)
    return {
        "version": "Notebook/1.0",
        "items": [
            {
                "type": _MARKDOWN,
                "content": {
                    "json": "# berth\n\nEach part answers the question above it. docs/runbook.md says what to do."
                },
                "name": "title",
            },
            _parameters(),
            _links(tabs),
            *(_group(tab, queries) for tab in tabs),
        ],
        "fallbackResourceIds": [],
        "$schema": "https://github.com/Microsoft/Application-Insights-Workbooks/blob/master/schema/workbook.json",
    }


def _parameters() -> Any:
    time_range = {
        "id": _id("TimeRange"),
        "version": "KqlParameterItem/1.0",
        "name": "TimeRange",
        "label": "Time range",
        "type": _TIME_RANGE,
        "isRequired": True,
        "value": {"durationMs": 7 * _DAY},
        "typeSettings": {"selectableValues": [{"durationMs": each} for each in _RANGES], "allowCustom": True},
    }
    inputs = [
        {
            "id": _id(name),
            "version": "KqlParameterItem/1.0",
            "name": name,
            "type": _TEXT,
            "description": f"For the tab One tenant: {what}.",
            "value": "",
        }
        for name, what in _INPUTS.items()
    ]
    content = {"version": "KqlParameterItem/1.0", "parameters": [time_range, *inputs], "style": "pills", **_WORKSPACE}
    return {"type": _PARAMETERS, "content": content, "name": "parameters"}


def _links(tabs: Iterable[Tab]) -> Any:
    links = [
        {
            "id": _id(f"tab {tab.title}"),
            "cellValue": "Tab",
            "linkTarget": "parameter",
            "linkLabel": tab.title,
            "subTarget": tab.title,
            "style": "link",
        }
        for tab in tabs
    ]
    return {"type": _LINKS, "content": {"version": "LinkItem/1.0", "style": "tabs", "links": links}, "name": "tabs"}


def _group(tab: Tab, queries: Mapping[str, Query]) -> Any:
    items = [_item(shown, queries[shown.query]) for shown in tab.queries]
    return {
        "type": _GROUP,
        "content": {"version": "NotebookGroup/1.0", "groupType": "editable", "items": items},
        "conditionalVisibility": {"parameterName": "Tab", "comparison": "isEqualTo", "value": tab.title},
        "name": tab.title,
    }


def _item(shown: Shown, query: Query) -> Any:
    # With a time context, Azure hides from a query what is older than the time range.
    is_within = not shown.own_period and not _OWN_BEFORE.search(query.text)
    content: dict[str, Any] = {
        "version": "KqlItem/1.0",
        "query": _text(shown, query),
        "size": 0,
        "title": query.question,
        "noDataMessage": "Nothing in this time.",
        "timeContext": {"durationMs": 0},  # as the query says
        **({"timeContextFromParameter": "TimeRange"} if is_within else {}),
        "showExportToExcel": True,
        **_WORKSPACE,
        "visualization": shown.shown_as,
    }
    width = {"customWidth": "50"} if shown.half else {}
    return {"type": _QUERY, "content": content, **width, "name": query.name}


def _text(shown: Shown, query: Query) -> str:
    text = query.filled(shown.values)
    if shown.own_period:
        return text
    text = _OWN_BEFORE.sub(r"> {TimeRange:start} - \1", _OWN.sub("{TimeRange:query}", text))
    code = re.sub(r"//.*", "", text)
    if code.count("period") != 1:  # that of its `let`
        raise QueryError(f"{query.name} uses its period for more than to look back: show it with own_period")
    return text


def _id(name: str) -> str:
    return str(uuid5(NAMESPACE_URL, f"berth/workbook/{name}"))
