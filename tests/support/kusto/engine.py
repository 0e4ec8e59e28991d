"""Runs KQL on rows, by DuckDB, as if they were in a workspace."""

import json
from datetime import UTC, datetime
from typing import Any

import duckdb_kql

from tests.support.kusto.envelopes import Row, Rows
from tests.support.kusto.tables import TABLES

_TYPES = {
    "string": "VARCHAR",
    "datetime": "TIMESTAMP",
    "dynamic": "JSON",
    "real": "DOUBLE",
    "int": "INTEGER",
    "bool": "BOOLEAN",
}


class Workspace:
    """A workspace with the rows of a test."""

    def __init__(self, rows: Rows) -> None:
        self._connection = duckdb_kql.connect()
        for table, columns in TABLES.items():
            definition = ", ".join(f'"{name}" {_TYPES[kind]}' for name, kind in columns.items())
            self._connection.execute(f"CREATE TABLE {table} ({definition})")
            for row in rows.get(table, ()):
                self._insert(table, row)

    def run(self, query: str, *, now: datetime) -> list[Row]:
        """Return the rows that a query answers at a time."""
        answer = duckdb_kql.kql(self._connection, query, query_now=now)
        return [dict(zip(answer.columns, map(_aware, row), strict=True)) for row in answer.fetchall()]

    def _insert(self, table: str, row: Row) -> None:
        unknown = row.keys() - TABLES[table].keys()
        assert not unknown, f"{table} has no column {unknown}"
        names = ", ".join(f'"{name}"' for name in row)
        values = [_value(value) for value in row.values()]
        self._connection.execute(f"INSERT INTO {table} ({names}) VALUES ({', '.join('?' * len(row))})", values)


def _aware(value: Any) -> Any:
    return value.replace(tzinfo=UTC) if isinstance(value, datetime) else value


def _value(value: Any) -> Any:
    return json.dumps(value) if isinstance(value, dict | list) else value
