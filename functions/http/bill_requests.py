"""The JSON of an import of the bill, and the days of a report."""

from collections import Counter
from datetime import date
from decimal import Decimal
from typing import Annotated, Any, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from functions.http.requests import Day
from shared.domain.bill import BillGroup, Sums

MAX_DAYS = 31  # of one import, which with the longest amounts is within the limit of a body


def _few(days: list[Any]) -> list[Any]:
    if not 0 < len(days) <= MAX_DAYS:
        raise ValueError(f"give 1 to {MAX_DAYS} days")
    return days


Amount = Annotated[str, Field(pattern=r"^-?[0-9]{1,18}(\.[0-9]{1,40})?$", examples=["12.345678"])]


class _Request(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, use_attribute_docstrings=True)


class BillImport(_Request):
    """Days of a billing period, as sums of a cost export.

    Each replaces what was imported for that day from the same billing period.
    """

    class BilledDay(_Request):
        """What is billed for one day in UTC."""

        day: Day
        sums: dict[Annotated[BillGroup, Field(strict=False)], Amount]
        """The amount of each group, as text so that no digit is lost; one that is left out is 0."""

    period: Day
    """The first day of the billing period, which may be a later one than that of the days."""
    currency: Annotated[str, Field(pattern=r"^[A-Z]{3}$", examples=["USD"])]
    """That of the price book; nothing is converted."""
    source: Annotated[
        str, Field(min_length=1, max_length=100, pattern=r"^[ -~]+$", examples=["FOCUS 1.0, EffectiveCost"])
    ]
    """The format of the export, and its column with the costs."""
    dry_run: bool = False
    """Whether the days are only compared, and not stored."""
    days: Annotated[
        list[BilledDay], AfterValidator(_few), Field(json_schema_extra={"minItems": 1, "maxItems": MAX_DAYS})
    ]

    @model_validator(mode="after")
    def _each_day_once(self) -> Self:
        twice = [str(day) for day, count in Counter(each.day for each in self.days).items() if count > 1]
        if twice:
            raise ValueError(f"give each day once, not {twice[0]} several times")
        return self

    def to_domain(self) -> dict[date, Sums]:
        """Return the sums of each day."""
        return {each.day: {group: Decimal(text) for group, text in each.sums.items()} for each in self.days}
