"""Table storage in memory, with the rules of Azure Table Storage that the repositories rely on."""

import asyncio
import itertools
import operator
import re
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any

from shared.adapters.tables.storage import Create, Delete, Replace, Row, Upsert, Write, check_transaction
from shared.errors import Conflict, NotFound

type Key = tuple[str, str]
type _Token = tuple[str, str, str]  # a parameter, a text or a word; the others are empty

_TOKEN = re.compile(r"\s*(?:(@\w+)|'((?:[^']|'')*)'|(\w+))")
_OPERATORS: Mapping[str, Callable[[Any, Any], bool]] = {
    "eq": operator.eq,
    "ne": operator.ne,
    "gt": operator.gt,
    "ge": operator.ge,
    "lt": operator.lt,
    "le": operator.le,
}
_CONSTANTS = {"true": True, "false": False}


class MemoryTables:
    """Implements `shared.adapters.tables.storage.TableStorage`.

    Several repositories on one of these are several workers on one storage account. Each call first lets other tasks
    run, as a call over the network does, and then happens at one moment.

    Attributes:
        rows: All rows with their ETags, by table and key.
        ahead: How much its own clock is ahead of the one that it was given.
    """

    def __init__(self, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self.rows: dict[str, dict[Key, tuple[Row, str]]] = {}
        self.ahead = timedelta()
        self._now = now
        self._written: dict[tuple[str, Key], datetime] = {}
        self._etags = itertools.count(1)

    async def get(self, table: str, partition: str, row: str) -> tuple[Row, str]:
        """Return a row and its ETag; raises NotFound."""
        await asyncio.sleep(0)
        return self._read(table, (partition, row))

    async def written_at(self, table: str, partition: str, row: str) -> datetime:
        """Return when a row was last written; raises NotFound."""
        await asyncio.sleep(0)
        self._read(table, (partition, row))
        return self._written[table, (partition, row)]

    async def query(
        self, table: str, where: str, parameters: Mapping[str, Any], *, page_size: int = 1000
    ) -> AsyncIterator[tuple[Row, str]]:
        """Yield the rows that match. A page is so many rows looked at, so that it may hold none that matches."""
        matches = parse_filter(where, parameters)
        last: Key = ("", "")
        while True:
            await asyncio.sleep(0)
            held = self.rows.get(table, {})
            keys = sorted(key for key in held if key > last)[:page_size]
            page = [(dict(row), etag) for row, etag in map(held.__getitem__, keys) if matches(row)]
            for found in page:
                yield found
            if len(keys) < page_size:
                return
            last = keys[-1]

    async def transact(self, table: str, writes: Sequence[Write]) -> list[str]:
        """Make writes in one partition, all or none; raises Conflict, NotFound, and Permanent for what is no batch."""
        await asyncio.sleep(0)
        check_transaction(writes)
        keys = [_key(write.row) for write in writes]
        held = self.rows.setdefault(table, {})
        for key, write in zip(keys, writes, strict=True):
            _check(write, held.get(key))
        etags: list[str] = []
        for key, write in zip(keys, writes, strict=True):
            if isinstance(write, Delete):
                del held[key]
                etags.append("")
            else:
                held[key] = _stored(write.row), f'W/"{next(self._etags)}"'
                self._written[table, key] = self._now() + self.ahead
                etags.append(held[key][1])
        return etags

    def _read(self, table: str, key: Key) -> tuple[Row, str]:
        try:
            row, etag = self.rows[table][key]
        except KeyError:
            raise NotFound("there is no such row") from None
        return dict(row), etag


def parse_filter(where: str, parameters: Mapping[str, Any]) -> Callable[[Row], bool]:
    """Return what an OData filter asks of a row; raises ValueError for syntax that the repositories do not use."""
    comparisons = [(name, _OPERATORS[sign], _value(value, parameters)) for name, sign, value in _parsed(where)]

    def matches(row: Row) -> bool:
        for name, compare, value in comparisons:
            found = row.get(name)
            # A property that is missing or of another type matches nothing.
            if not isinstance(found, type(value)) or not compare(found, value):
                return False
        return True

    return matches


@cache
def _parsed(where: str) -> Sequence[tuple[str, str, _Token]]:
    """Return the name, the operator and the value of each comparison of a filter; raises ValueError."""
    tokens: list[_Token] = []
    position = 0
    while position < len(where.rstrip()):
        found = _TOKEN.match(where, position)
        if found is None:
            raise ValueError(f"unknown syntax in the filter {where!r} at {position}")
        tokens.append((found[1] or "", "'" + found[2] if found[2] is not None else "", found[3] or ""))
        position = found.end()
    comparisons: list[tuple[str, str, _Token]] = []
    for number in range(0, len(tokens), 4):
        part = tokens[number : number + 4]
        if (
            len(part) < 3
            or part[0][2] == ""
            or part[1][2] not in _OPERATORS
            or (len(part) == 4 and part[3][2] != "and")
        ):
            raise ValueError(f"unknown syntax in the filter {where!r}")
        comparisons.append((part[0][2], part[1][2], part[2]))
    if not comparisons or len(tokens) % 4 != 3:
        raise ValueError(f"the filter {where!r} is cut off")
    return comparisons


def _value(token: _Token, parameters: Mapping[str, Any]) -> Any:
    parameter, text, word = token
    if parameter:
        return parameters[parameter[1:]]
    if text:
        return text[1:].replace("''", "'")
    if word in _CONSTANTS:
        return _CONSTANTS[word]
    raise ValueError(f"{word} is no value of a filter")


def _check(write: Write, held: tuple[Row, str] | None) -> None:
    match write:
        case Create() if held is not None:
            raise Conflict("the row exists")
        case Replace() | Delete() if held is None:
            raise NotFound("there is no such row")
        case Delete(_, ""):
            pass
        case Replace(_, etag) | Delete(_, etag) if held is not None and held[1] != etag:
            raise Conflict("the row was changed")
        case Create() | Upsert() | Replace() | Delete():
            pass


def _key(row: Row) -> Key:
    return row["PartitionKey"], row["RowKey"]


def _stored(row: Row) -> Row:
    """Return a row as the service gives it back."""
    kept: Row = {}
    for name, value in row.items():
        match value:
            case None:
                continue
            case datetime():
                kept[name] = value.astimezone(UTC)
            case bool() | int() | float() | bytes():
                kept[name] = value
            case str():
                kept[name] = str(value)
            case _:
                raise TypeError(f"{name} is a {type(value).__name__}, which no row holds")
    return kept
