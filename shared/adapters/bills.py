"""Cost exports of Azure as files: CSV, plain or compressed by gzip, read row by row.

What is in memory is one row, so a file may have any size.
"""

import csv
import gzip
import io
import json
import zlib
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any, cast

from shared.adapters.bill_columns import Header, charge_of, read_header
from shared.application.ports.bills import UnreadableRow
from shared.domain.bill import BillLine, amount_of
from shared.errors import Invalid

_GZIP, _PARQUET = b"\x1f\x8b", b"PAR1"
_NO_GROUPS = frozenset({"others", "not applicable"})  # what Azure writes where there is no resource group


class CsvExport:
    """One file of a cost export; implements `shared.application.ports.bills.CostExport`.

    Raises:
        Invalid: It cannot be read, is no CSV, or lacks columns; everything that is wrong is named.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        with self._reading() as reader:
            names = next(reader, None)
        header, wrong = read_header(names) if names else (None, ["the file is empty"])
        if header is None:
            raise Invalid(*((path.name, each) for each in wrong))
        self.header = header

    @property
    def source(self) -> str:
        """The format, and the column with the costs."""
        return self.header.source

    def rows(self) -> Iterator[BillLine | UnreadableRow]:
        """Yield the rows one by one; raises Invalid if the file breaks off."""
        with self._reading() as reader:
            next(reader)
            while True:
                try:
                    row = next(reader)
                except StopIteration:
                    return
                except csv.Error as error:
                    yield UnreadableRow(self._path.name, reader.line_num, str(error))
                    continue
                if not row:
                    continue
                try:
                    yield _line(row, self.header)
                except ValueError as error:
                    yield UnreadableRow(self._path.name, reader.line_num, str(error))

    @contextmanager
    def _reading(self) -> Generator[Any]:
        try:
            with self._path.open("rb") as raw:
                start = raw.read(4)
                raw.seek(0)
                if start == _PARQUET:
                    raise Invalid((self._path.name, "this is Parquet: export CSV, which may be compressed by gzip"))
                stream = gzip.GzipFile(fileobj=raw) if start.startswith(_GZIP) else raw
                # A letter that is not UTF-8 can be in a name only; no cost is lost for it.
                with io.TextIOWrapper(
                    cast("io.BufferedReader", stream), "utf-8-sig", errors="replace", newline=""
                ) as text:
                    yield csv.reader(text)
        except (EOFError, gzip.BadGzipFile, zlib.error) as error:
            raise Invalid((self._path.name, f"the file breaks off: get it again ({error})")) from error
        except csv.Error as error:
            raise Invalid((self._path.name, f"this is no CSV: {error}")) from error
        except OSError as error:
            raise Invalid((self._path.name, f"the file cannot be read: {error.strerror}")) from error


def open_exports(paths: Sequence[Path]) -> list[CsvExport]:
    """Return the files of one export.

    Raises:
        Invalid: Something is wrong with any of them, or they are not of one export; everything that is wrong is named.
    """
    wrong: list[tuple[str, str]] = []
    exports: list[CsvExport] = []
    for path in paths:
        try:
            exports.append(CsvExport(path))
        except Invalid as error:
            wrong += error.errors
    if len({path.resolve() for path in paths}) < len(paths):
        wrong.append(("", "a file is given twice, so its costs would count twice"))
    sources = sorted({each.source for each in exports})
    if len(sources) > 1:
        wrong.append(("", f"the files are of several exports, so costs could count twice: {'; '.join(sources)}"))
    if wrong:
        raise Invalid(*wrong)
    return exports


def _line(row: Sequence[str], header: Header) -> BillLine:
    """Return what a row says; raises ValueError."""
    if len(row) != header.width:
        raise ValueError(f"the row has {len(row)} fields, the header {header.width}")
    places = header.places

    def text(what: str) -> str:
        return row[places[what]].strip() if what in places else ""

    resource_id = text("resource_id")
    charge = charge_of(text("charge"), correction=text("correction"), commitment=text("commitment"))
    currency = text("currency").upper()
    if not (len(currency) == 3 and currency.isascii() and currency.isalpha()):
        raise ValueError("the currency is not one such as USD")
    day, period = _day(text("day")), text("period")
    return BillLine(
        day=day,
        period=_day(period) if period else day.replace(day=1),
        cost=_amount("cost", text("cost")),
        currency=currency,
        charge=charge,
        service=text("service"),
        resource_id=resource_id,
        resource_group=_group(text("resource_group"), resource_id),
        tags=_tags(text("tags")),
        invoiced=_amount("billed cost", text("invoiced")) if "invoiced" in places else None,
    )


def _amount(what: str, text: str) -> Any:
    try:
        return amount_of(text)
    except ValueError as error:
        raise ValueError(f"the {what} {error}") from None


def _day(text: str) -> date:
    """Return the day in UTC of 2026-10-31, of 2026-10-31T00:00Z with or without a zone, and of 10/31/2026."""
    try:
        if "/" in text:
            return datetime.strptime(text, "%m/%d/%Y").replace(tzinfo=UTC).date()
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise ValueError("the date is neither like 2026-10-31 nor like 10/31/2026, month first") from None
    return (moment.astimezone(UTC) if moment.tzinfo else moment).date()


def _group(text: str, resource_id: str) -> str:
    """Return the resource group by its column, or as the id of the resource has it."""
    if text and text.lower() not in _NO_GROUPS:
        return text
    parts = resource_id.split("/")
    lower = [part.lower() for part in parts]
    place = lower.index("resourcegroups") + 1 if "resourcegroups" in lower else len(parts)
    return parts[place] if place < len(parts) else ""


def _tags(text: str) -> Mapping[str, str] | None:
    """Return tags that are a JSON object, or the inside of one as the older formats have it; None for anything else."""
    if not text:
        return {}
    try:
        tags = json.loads(text if text.startswith("{") else f"{{{text}}}")
    except ValueError:
        return None
    return {name: str(value) for name, value in tags.items()}
