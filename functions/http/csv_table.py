"""A list of the API as CSV (RFC 4180), for spreadsheets."""

import csv
import io
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any, cast

import azure.functions as func
from pydantic import BaseModel

MEDIA_TYPE = "text/csv"
_FORMULA = ("=", "+", "-", "@", "\t", "\r")  # a spreadsheet runs what begins with one of these


def csv_of(items: Sequence[BaseModel], model: type[BaseModel]) -> str:
    """Return a line with the names of a model's fields, and one line for each item."""
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow(model.model_fields)
    for each in items:
        dumped = each.model_dump(mode="json")
        writer.writerow(_cell(value, getattr(each, name)) for name, value in dumped.items())
    return text.getvalue()


def csv_response(
    items: Sequence[BaseModel], model: type[BaseModel], headers: Mapping[str, str] | None = None
) -> func.HttpResponse:
    """Return a response with what `csv_of` returns."""
    return func.HttpResponse(csv_of(items, model), headers=headers, mimetype=MEDIA_TYPE)


def _cell(value: Any, of: Any) -> Any:
    """Return a value as a spreadsheet shows it: text that would be a formula begins with an apostrophe.

    An object is one text, of its names with their values. A decimal is text in JSON, and a number here, which may be
    negative.
    """
    if isinstance(value, dict):
        value = ", ".join(f"{name}: {each}" for name, each in cast("dict[str, Any]", value).items())
    is_text = isinstance(value, str) and not isinstance(of, Decimal)
    return f"'{value}" if is_text and value.startswith(_FORMULA) else value
