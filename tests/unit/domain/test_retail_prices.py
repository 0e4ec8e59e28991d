"""Which row of Azure's list is a price: exactly the one that is meant, or none."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from shared.domain.prices import GLOBAL, Price, PriceId, Unit
from shared.domain.retail_prices import Meter, RetailRow, is_plausible, matching
from shared.errors import Permanent

NOW = datetime(2026, 11, 25, tzinfo=UTC)
DAY = timedelta(days=1)
METER = Meter("Storage", "Tables", sku="Standard LRS", name="LRS Data Stored")
KNOWN = Price(
    PriceId("tables"), "westeurope", "USD", Unit.GB_MONTH, Decimal("0.045"), NOW - 99 * DAY, None, "the document", NOW
)


def row(amount: str = "0.045", **fields: Any) -> RetailRow:
    usual: dict[str, Any] = {
        "service": "Storage",
        "product": "Tables",
        "arm_sku": "",
        "sku": "Standard LRS",
        "name": "LRS Data Stored",
        "tier": Decimal(0),
        "region": "westeurope",
        "currency": "USD",
        "meter_id": "3f2b1e1c",
        "unit": Unit.GB_MONTH,
        "amount": Decimal(amount),
        "kind": "Consumption",
        "reservation_term": "",
        "primary": True,
        "since": NOW - 9 * DAY,
        "until": None,
    }
    return RetailRow(**(usual | fields))


def amounts(*rows: RetailRow, known: Price = KNOWN, meter: Meter = METER) -> list[str]:
    return [str(each.amount) for each in matching(rows, meter, known, NOW)]


@pytest.mark.parametrize(
    "fields",
    [
        {"service": "Backup"},
        {"product": "tables"},
        {"sku": "Account Encrypted LRS"},
        {"name": "LRS Data Stored - Free"},
        {"tier": Decimal(100)},
        {"region": "eastus"},
        {"currency": "EUR"},
        {"unit": Unit.GB},
        {"unit": None},
        {"kind": "Reservation"},
        {"kind": "DevTestConsumption"},
        {"reservation_term": "1 Year"},
        {"until": NOW},
    ],
)
def test_a_row_that_differs_in_anything_is_not_taken(fields: dict[str, Any]) -> None:
    assert amounts(row("9", **fields), row()) == ["0.045"]
    with pytest.raises(Permanent, match="no such row"):
        amounts(row("9", **fields))


def test_different_prices_at_once_are_not_taken() -> None:
    assert amounts(row(), row(meter_id="other")) == ["0.045"]
    with pytest.raises(Permanent, match=r"2 different prices since 2026-11-16T00:00:00\+00:00: 0.045, 0.05"):
        amounts(row(), row("0.05"))


def test_of_two_meters_the_primary_one_counts() -> None:
    assert amounts(row("0.05", primary=False), row()) == ["0.045"]
    assert amounts(row("0.05", primary=False)) == ["0.05"]


def test_the_present_price_comes_first_then_what_is_announced() -> None:
    rows = [
        row("4", since=NOW + 60 * DAY),
        row("1", since=NOW - 60 * DAY),
        row("3", since=NOW + DAY),
        row("2", since=NOW),
    ]
    assert amounts(*rows) == ["2", "3", "4"]
    with pytest.raises(Permanent, match="no such row"):
        amounts(rows[0])


def test_a_price_for_all_regions_is_listed_as_global() -> None:
    known = replace(KNOWN, region=GLOBAL)
    assert amounts(row("1", region="Global"), row("2"), known=known) == ["1"]


@pytest.mark.parametrize(
    ("amount", "known", "plausible"),
    [
        ("0.5", "0.1", True),
        ("0.500001", "0.1", False),
        ("0.02", "0.1", True),
        ("0.019999", "0.1", False),
        ("0", "0.1", False),
        ("-0.1", "0.1", False),
        ("0.1", "0", False),
    ],
)
def test_a_wild_change_is_not_plausible(amount: str, known: str, plausible: bool) -> None:
    assert is_plausible(Decimal(amount), Decimal(known), factor=Decimal(5)) is plausible
