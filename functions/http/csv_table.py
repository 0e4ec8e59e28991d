"""A list of the API as CSV (RFC 4180), for spreadsheets."""

import csv
import io
from collections.abc import Sequence
from typing import Any, cast

from pydantic import BaseModel

MEDIA_TYPE = "text/csv"
_FORMULA = ("=", "+", "-", "@", "\t", "\r")  # a spreadsheet runs what begins with one of these


def csv_of(items: Sequence[BaseModel], model: type[BaseModel]) -> str:
    """Return a line with the names of a model's fields, and one line for each item."""
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow(model.model_fields)
    for each in items:
        writer.writerow(_cell(value) for value in each.model_dump(mode="json").values())
    return text.getvalue()


def _cell(value: Any) -> Any:
    """Return a value as a spreadsheet shows it: text that would be a formula begins with an apostrophe.

    An object is one text, of its names with their values.
    """
    if isinstance(value, dict):
        value = ", ".join(f"{name}: {each}" for name, each in cast("dict[str, Any]", value).items())
    return f"'{value}" if isinstance(value, str) and value.startswith(_FORMULA) else value
