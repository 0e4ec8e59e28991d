"""The document of prices: what is deployed is good, and everything that is wrong is in one message, with its line."""

from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import pytest

from shared.adapters.prices import PricesError, load_prices
from shared.domain.prices import Price, PriceId, Unit
from shared.domain.retail_prices import Meter, PriceDocument

NEW_YEAR = datetime(2026, 1, 1, tzinfo=UTC)
SMALL = """edition: test
currency: EUR
sources:
  list: {what: the list, seen: 2025-12-24}
  contract: {what: agreement 4711, seen: 2026-02-01}
prices:
  egress:internet:
    unit: GB
    free: "100"
    meter: {service: Bandwidth, product: "Rtn Preference: MGN", name: Out, tier: "100"}
    regions:
      westeurope:
        - {amount: "0.087", from: 2026-01-01, source: list}
        - {amount: "0.090", from: 2026-03-01T12:00:00+02:00, until: 2027-01-01, source: list, verified: false}
agreed:
  egress:internet:
    eastus: [{amount: "0.05", from: 2026-02-01, source: contract}]
"""


def loaded(directory: Path, text: str) -> PriceDocument:
    path = directory / "prices.yaml"
    path.write_text(text)
    return load_prices(path)


def complaint(directory: Path, text: str) -> str:
    with pytest.raises(PricesError) as caught:
        loaded(directory, text)
    return str(caught.value)


def test_the_deployed_document_is_good() -> None:
    document = load_prices()
    prices = document.book.prices
    assert document.book.currency == "USD"
    assert {each.region for each in prices} == {"westeurope", "eastus", "global"}
    assert set(document.meters) <= {each.id for each in prices}
    assert not any(each.agreed for each in prices)
    machine = document.book.at(PriceId("vm:Standard_D4as_v7:linux"), "westeurope", NEW_YEAR)
    assert (machine.amount, machine.unit, machine.seen) == (
        Decimal("0.220"),
        Unit.HOUR,
        datetime(2026, 8, 20, tzinfo=UTC),
    )


def test_a_price_has_what_the_document_says(tmp_path: Path) -> None:
    document = loaded(tmp_path, SMALL)
    name, until = PriceId("egress:internet"), datetime(2026, 3, 1, 10, tzinfo=UTC)
    seen, free = datetime(2025, 12, 24, tzinfo=UTC), Decimal(100)
    list_price = ("EUR", Unit.GB, Decimal("0.087"), NEW_YEAR, until, "the list", seen)
    later = ("EUR", Unit.GB, Decimal("0.090"), until, datetime(2027, 1, 1, tzinfo=UTC), "the list", seen)
    signed = datetime(2026, 2, 1, tzinfo=UTC)
    assert document.book.prices == [
        Price(
            name, "eastus", "EUR", Unit.GB, Decimal("0.05"), signed, None, "agreement 4711", signed, True, True, free
        ),
        Price(name, "westeurope", *list_price, True, False, free),
        Price(name, "westeurope", *later, False, False, free),
    ]
    assert document.meters == {name: Meter("Bandwidth", "Rtn Preference: MGN", name="Out", tier=free)}
    assert document.book.version.startswith("test-")


def test_every_mistake_is_in_one_message(tmp_path: Path) -> None:
    text = """edition: "a b"
currency: usd
sources:
  list: {what: the list, seen: yesterday}
prices:
  vm:one:
    unit: hours
    meter: {service: "O'Brien", sku: x, colour: blue}
    regions:
      West Europe: [{amount: "1", from: 2026-01-01, source: list}]
      eastus:
        - {amount: 0.208, from: 2026-01-01T12:00:00, source: list}
        - {amount: "-1", from: "2026-01-01", source: lost, extra: 1}
  vm:two:
    unit: hour
    regions:
      eastus:
        - {amount: "1", from: 2026-01-01, until: 2026-03-01, source: list}
        - {amount: "1", from: 2026-02-01, source: list}
      westus:
        - {amount: "1", from: 2026-02-01, source: list}
        - {amount: "1", from: 2026-01-01, source: list}
      uksouth:
        - {amount: "1", from: 2026-02-01, until: 2026-01-01, source: list}
      northeurope: []
  "vm three": {unit: hour, regions: {}}
agreed:
  vm:four:
    eastus: [{amount: "1e3", from: 2026-01-01, source: list}]
discount: 5
"""
    message = complaint(tmp_path, text)
    assert message.startswith("the document of prices, prices.yaml, is wrong:\n")
    for place in (
        "line 1, edition: ",
        "line 2, currency: ",
        "line 4, sources.list.seen: write a date",
        "line 7, prices.vm:one.unit: ",
        "line 8, prices.vm:one.meter.service: ",
        "line 8, prices.vm:one.meter.colour: ",
        "line 10, prices.vm:one.regions.West Europe: ",
        "line 12, prices.vm:one.regions.eastus.0.amount: write a decimal in quotes",
        "line 12, prices.vm:one.regions.eastus.0.from: add the offset to the time",
        "line 13, prices.vm:one.regions.eastus.1.amount: write a decimal in quotes",
        "line 13, prices.vm:one.regions.eastus.1.from: write a date",
        "line 13, prices.vm:one.regions.eastus.1.source: there is no lost under sources",
        "line 13, prices.vm:one.regions.eastus.1.extra: ",
        "line 17, prices.vm:two.regions.eastus: the period from 2026-02-01T00:00:00+00:00 begins before the one above",
        "line 20, prices.vm:two.regions.westus: the period from 2026-01-01T00:00:00+00:00 belongs before the one above",
        "line 23, prices.vm:two.regions.uksouth: the period from 2026-02-01T00:00:00+00:00 ends before it begins",
        "line 25, prices.vm:two.regions.northeurope: ",
        "line 26, prices.vm three: ",
        "line 26, prices.vm three.regions: ",
        "line 28, agreed.vm:four: there is no vm:four under prices",
        "line 29, agreed.vm:four.eastus.0.amount: ",
        "line 30, discount: ",
    ):
        assert f"\n  {place}" in message, f"{place}\n{message}"


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("", "line 1, : Input should be"),
        ("- 1", "Input should be"),
        ("edition: [", "line 2, column 1"),
        (SMALL + "currency: USD\n", "the key currency occurs twice"),
        (SMALL.replace("\nagreed:", "\nprices: {}\nagreed:"), "the key prices occurs twice"),
        (SMALL.replace("westeurope:\n", "westeurope: {}\n", 1).replace("        - {", "      # {"), "valid list"),
    ],
)
def test_what_is_no_document_says_why(tmp_path: Path, text: str, part: str) -> None:
    assert part in complaint(tmp_path, text)


def test_a_missing_document_says_so(tmp_path: Path) -> None:
    with pytest.raises(PricesError, match="No such file"):
        load_prices(tmp_path / "prices.yaml")


def test_two_periods_that_touch_do_not_overlap(tmp_path: Path) -> None:
    text = SMALL.replace("from: 2026-01-01,", "from: 2026-01-01, until: 2026-03-01T10:00:00Z,")
    assert loaded(tmp_path, text).book.prices == loaded(tmp_path, SMALL).book.prices
