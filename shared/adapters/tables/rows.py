"""Rows are read tolerantly: a newer version may write beside this one, and a rollback finds what it has left.

A row carries the version of its schema. It grows when an older berth could no longer read a row, or would lose
something by writing it. A row of another schema, or one with a state or kind that does not exist here, is
unreadable: lists skip it, log an error and count it; a read of just that row fails. It is never written over.
"""

import logging
from collections.abc import AsyncIterator, Callable, Iterable

from shared.adapters.tables.storage import Row
from shared.application.ports.stored import Page
from shared.errors import Transient
from shared.events import log_event
from shared.telemetry import metrics
from shared.telemetry.metrics import record

logger = logging.getLogger(__name__)

SCHEMA_VERSION = 4
RETRY_AFTER = 30.0  # seconds: a rollout takes minutes
_COLUMN = "schema_version"


class UnreadableRow(Transient):
    """A row that this version of berth cannot read; another worker, or the version after the rollout, can."""

    def __init__(self, message: str) -> None:
        super().__init__(message, RETRY_AFTER)


def with_schema(row: Row) -> Row:
    """Return a row with the version of its schema."""
    return {**row, _COLUMN: SCHEMA_VERSION}


def read_row[T](table: str, row: Row, parse: Callable[[Row], T]) -> T:
    """Return what a row says; raises UnreadableRow.

    Args:
        table: Where the row is, for the message.
        row: The row.
        parse: Makes a value of it; whatever it raises means that the row is unreadable.
    """
    found = row.get(_COLUMN)
    name = f"the row {row['RowKey']} of the table {table}"
    if found != SCHEMA_VERSION:
        raise UnreadableRow(f"{name} was written by another version of berth: schema {found}, not {SCHEMA_VERSION}")
    try:
        return parse(row)
    except (ValueError, KeyError, TypeError) as error:
        # Not the text of the error: it can quote the row.
        raise UnreadableRow(f"{name} cannot be read: {type(error).__name__}") from error


def read_or_skip[T](table: str, row: Row, parse: Callable[[Row], T]) -> T | None:
    """Return what a row says, or None for an unreadable one, which is logged and counted."""
    try:
        return read_row(table, row, parse)
    except UnreadableRow as error:
        record(metrics.ROWS_SKIPPED, table=table)
        log_event(logger, "row skipped", level=logging.ERROR, table=table, row=row["RowKey"], cause=str(error))
        return None


def readable[T](table: str, rows: Iterable[Row], parse: Callable[[Row], T]) -> list[T]:
    """Return what rows say, without the unreadable ones."""
    read = (read_or_skip(table, row, parse) for row in rows)
    return [each for each in read if each is not None]


async def page_of[T](
    table: str, rows: AsyncIterator[Row], parse: Callable[[Row], T], *, limit: int, token_after: Callable[[Row], str]
) -> Page[T]:
    """Return the first `limit` readable rows, and the token with which the list continues if there are more.

    Args:
        table: Where the rows are, for the messages.
        rows: The rows from where the page begins.
        parse: Makes a value of a row.
        limit: How many values a page has at most.
        token_after: Makes the token of the last row on the page.
    """
    found: list[T] = []
    last: Row = {}
    async for row in rows:
        value = read_or_skip(table, row, parse)
        if value is None:
            continue
        if len(found) == limit:
            return Page(tuple(found), token_after(last))
        found.append(value)
        last = row
    return Page(tuple(found), "")
