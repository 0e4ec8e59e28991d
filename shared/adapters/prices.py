"""The prices, from the document shared/prices.yaml, which operators edit."""

import re
from collections.abc import Iterator, Sequence
from datetime import UTC, date, datetime
from decimal import Decimal
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any

import yaml
from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    PlainValidator,
    ValidationError,
    ValidationInfo,
)

from shared.adapters.strict_yaml import StrictLoader, line_of
from shared.domain.prices import Price, PriceBook, PriceId, Unit
from shared.domain.retail_prices import Meter, PriceDocument

FILE = Path(__file__).parents[1] / "prices.yaml"
_DECIMAL = re.compile(r"(0|[1-9][0-9]{0,8})(\.[0-9]{1,12})?")


class PricesError(Exception):
    """The document of prices is wrong; the message lists everything that is, with its line."""


def _moment(value: object) -> datetime:
    """Return a moment from what YAML makes of a date or a time."""
    if isinstance(value, datetime):
        if value.tzinfo is None:
            raise ValueError("add the offset to the time, such as Z for UTC")
        return value.astimezone(UTC)
    if isinstance(value, date):
        return datetime(value.year, value.month, value.day, tzinfo=UTC)
    raise ValueError("write a date such as 2026-01-01, or a time such as 2026-01-01T12:00:00Z, without quotes")


def _exact(value: object) -> Decimal:
    """Return a decimal from a string; YAML's own numbers are not exact."""
    if not isinstance(value, str) or not _DECIMAL.fullmatch(value):
        raise ValueError('write a decimal in quotes, such as "0.208", with at most 12 digits after the point')
    return Decimal(value)


def _known(kind: str) -> AfterValidator:
    """Return what checks that a name is one of those in the context of the validation."""

    def check(name: str, info: ValidationInfo) -> str:
        assert info.context is not None
        if name not in info.context[kind]:
            raise ValueError(f"there is no {name} under {kind}")
        return name

    return AfterValidator(check)


Amount = Annotated[Decimal, PlainValidator(_exact)]
Moment = Annotated[datetime, PlainValidator(_moment)]
Region = Annotated[str, Field(pattern=r"^[a-z][a-z0-9]{1,39}$")]
Id = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.:-]{0,99}$")]
Text = Annotated[str, Field(min_length=1, max_length=300)]
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9 _.:&/()+-]{0,99}$")]  # which an OData filter can hold


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid")


class _Source(_Part):
    what: Text
    seen: Moment


class _Meter(_Part):
    service: Name
    product: Name | None = None
    arm_sku: Name | None = None
    sku: Name | None = None
    name: Name | None = None
    tier: Amount = Decimal(0)


class _Period(_Part):
    amount: Amount
    since: Moment = Field(alias="from")
    until: Moment | None = None
    source: Annotated[str, _known("sources")]
    verified: bool = True


def _apart(periods: Sequence[_Period]) -> Sequence[_Period]:
    """Check that periods are in order and do not overlap."""
    for each in periods:
        if each.until is not None and each.until <= each.since:
            raise ValueError(f"the period from {each.since.isoformat()} ends before it begins")
    for before, after in pairwise(periods):
        if after.since <= before.since:
            raise ValueError(f"the period from {after.since.isoformat()} belongs before the one above it")
        if before.until is not None and after.since < before.until:
            raise ValueError(f"the period from {after.since.isoformat()} begins before the one above it ends")
    return periods


Regions = dict[Region, Annotated[list[_Period], Field(min_length=1), AfterValidator(_apart)]]


class _Price(_Part):
    unit: Unit
    free: Amount = Decimal(0)
    meter: _Meter | None = None
    regions: Annotated[Regions, Field(min_length=1)]


class _Document(_Part):
    edition: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,39}$")]
    currency: Annotated[str, Field(pattern=r"^[A-Z]{3}$")]
    sources: dict[str, _Source]
    prices: Annotated[dict[Id, _Price], Field(min_length=1)]
    agreed: dict[Annotated[str, _known("prices")], Regions] = {}


def load_prices(path: Path = FILE) -> PriceDocument:
    """Return all prices of a document, and where those that Azure lists are found in its list.

    Raises:
        PricesError: It cannot be read, or something in it is missing, out of range, or has a name that nothing has.
    """
    text = ""
    try:
        text = path.read_text(encoding="utf-8")
        document: Any = yaml.load(text, StrictLoader)  # noqa: S506 - a safe loader
        read = _Document.model_validate(
            document, context={each: _names(document, each) for each in ("sources", "prices")}
        )
    except ValidationError as error:
        wrong = [_line(text, each["loc"], each["msg"]) for each in error.errors(include_url=False)]
    except (OSError, ValueError, yaml.YAMLError) as error:
        wrong = [f"  {error}"]
    else:
        meters = {PriceId(name): _meter(each.meter) for name, each in read.prices.items() if each.meter is not None}
        return PriceDocument(PriceBook(read.edition, read.currency, _prices(read)), meters)
    raise PricesError("\n".join([f"the document of prices, {path.name}, is wrong:", *wrong])) from None


def _names(document: Any, section: str) -> frozenset[str]:
    """Return the keys of a section of a document of which nothing is known yet."""
    try:
        return frozenset(map(str, document[section]))
    except (TypeError, LookupError):
        return frozenset()


def _line(text: str, location: tuple[int | str, ...], message: str) -> str:
    place = [each for each in location if each != "[key]"]  # which pydantic adds for the name of a price or region
    return f"  line {line_of(text, place)}, {'.'.join(map(str, place))}: {message.removeprefix('Value error, ')}"


def _meter(meter: _Meter) -> Meter:
    return Meter(meter.service, meter.product or "", meter.arm_sku or "", meter.sku or "", meter.name or "", meter.tier)


def _prices(document: _Document) -> Iterator[Price]:
    for name, each in document.prices.items():
        yield from _series(document, name, each.regions, agreed=False)
    for name, regions in document.agreed.items():
        yield from _series(document, name, regions, agreed=True)


def _series(document: _Document, name: str, regions: Regions, *, agreed: bool) -> Iterator[Price]:
    for region, periods in regions.items():
        ends = [each.since for each in periods[1:]]
        for each, next_begins in zip(periods, [*ends, None], strict=True):
            source = document.sources[each.source]
            yield Price(
                id=PriceId(name),
                region=region,
                currency=document.currency,
                unit=document.prices[name].unit,
                amount=each.amount,
                since=each.since,
                until=each.until or next_begins,
                source=source.what,
                seen=source.seen,
                verified=each.verified,
                agreed=agreed,
                free=document.prices[name].free,
            )
