"""The files that are made of the queries, the alert rules and the tabs."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cli.monitoring.alerts import MONITORING, deployed_rules, read_rules
from cli.monitoring.page import monitoring_page
from cli.monitoring.queries import read_queries
from cli.monitoring.workbook import read_tabs, workbook


def generated_files() -> Mapping[Path, str]:
    """Return the text of each file that is made, by its path."""
    queries, rules, tabs = read_queries(), read_rules(), read_tabs()
    page = MONITORING.parent.parent / "docs/monitoring.md"
    return {
        MONITORING / "alerts.json": _json(deployed_rules(rules, queries)),
        MONITORING / "workbook.json": _json(workbook(tabs, queries)),
        page: monitoring_page(page.read_text(), queries, rules, tabs),
    }


def _json(value: Any) -> str:
    return json.dumps(value, indent=2) + "\n"
