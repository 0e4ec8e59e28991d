"""Microsoft's library for KQL, which the set-up installs from npm, called through `check.mjs`."""

import json
import os
import subprocess
from collections.abc import Mapping
from pathlib import Path

from pydantic import TypeAdapter
from pydantic.dataclasses import dataclass

from tests.support.kusto.tables import TABLES


@dataclass(frozen=True)
class Problem:
    """A mistake that the library finds, in a line of a query."""

    line: int
    code: str
    severity: str
    message: str


@dataclass(frozen=True)
class Comparison:
    """Texts that a query compares a column, or a key of Properties, with."""

    column: str | None
    key: str | None
    operator: str
    values: list[str]


@dataclass(frozen=True)
class Read:
    """What one pipeline of a query reads, with that of the `let` that it goes on from."""

    tables: list[str]
    columns: list[str]
    keys: list[str]
    compared: list[Comparison]

    def names(self, column: str) -> list[str]:
        """Return the texts that a column is compared with."""
        return [value for each in self.compared if each.column == column for value in each.values]


@dataclass(frozen=True)
class Answer:
    """What the library says about a query; `texts` are the columns of its result that are texts."""

    problems: list[Problem]
    texts: list[str]
    reads: list[Read]


_ANSWERS = TypeAdapter(dict[str, Answer])


def check(queries: Mapping[str, str]) -> dict[str, Answer]:
    """Parse queries, and bind their names to the tables of the workspace."""
    tables = {
        table: f"({', '.join(f'{name}:{kind}' for name, kind in columns.items())})" for table, columns in TABLES.items()
    }
    done = subprocess.run(
        [os.environ["BERTH_NODE"], Path(__file__).with_name("check.mjs")],
        input=json.dumps({"tables": tables, "queries": queries}),
        check=True,
        capture_output=True,
        text=True,
        timeout=60,
    )
    return _ANSWERS.validate_json(done.stdout)
