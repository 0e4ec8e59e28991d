"""The adapter of Azure's price list against a stand-in on loopback."""

import json
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime
from decimal import Decimal

import pytest
from aiohttp import web
from yarl import URL

from shared.adapters.prices import load_prices
from shared.adapters.retail_prices import MAX_PAGES, RetailPricesApi, is_same_server
from shared.adapters.retry import RetryPolicy
from shared.domain.prices import PriceId, Unit
from shared.domain.retail_prices import Meter, RetailRow, matching
from shared.errors import BerthError, Permanent, Transient, Unreachable
from tests.support.retail_prices import RetailPricesStandIn, item, rows_of_one_machine

MACHINE = PriceId("vm:Standard_D4as_v5:linux")
METER = Meter("Virtual Machines", arm_sku="Standard_D4as_v5")
NOW = datetime(2026, 11, 25, tzinfo=UTC)


@pytest.fixture
async def listed() -> AsyncIterator[RetailPricesStandIn]:
    async with RetailPricesStandIn().serving() as held:
        yield held


async def ask(url: str, meter: Meter = METER, *, region: str = "westeurope", seconds: float = 0) -> Sequence[RetailRow]:
    """Ask once; with `seconds`, again for so long."""
    first_pause = 0.01 if seconds else 1e9
    api = RetailPricesApi(url, RetryPolicy(total_timeout=seconds or 20, first_pause=first_pause, max_pause=1e9))
    try:
        return await api.rows(meter, region=region, currency="USD")
    finally:
        await api.close()


async def test_of_all_rows_of_a_size_the_linux_one_is_taken(listed: RetailPricesStandIn) -> None:
    rows = await ask(listed.url)
    document = load_prices()
    assert len(rows) == len([each for each in listed.items if each["type"] == "Consumption"])
    found = matching(rows, document.meters[MACHINE], document.book.at(MACHINE, "westeurope", NOW), NOW)
    assert [str(each.amount) for each in found] == ["0.208"]
    assert found[0] == RetailRow(
        service="Virtual Machines",
        product="Virtual Machines Dasv5 Series",
        arm_sku="Standard_D4as_v5",
        sku="Standard_D4as_v5",
        name="D4as v5",
        tier=Decimal(0),
        region="westeurope",
        currency="USD",
        meter_id="b69c5dbc-6df2-5b78-8822-fb32b72f3d64",
        unit=Unit.HOUR,
        amount=Decimal("0.208"),
        kind="Consumption",
        reservation_term="",
        primary=True,
        since=datetime(2021, 11, 1, tzinfo=UTC),
        until=None,
    )


async def test_none_of_the_other_rows_is_taken_for_it(listed: RetailPricesStandIn) -> None:
    document = load_prices()
    known = document.book.at(MACHINE, "westeurope", NOW)
    for trap in rows_of_one_machine()[:-1]:
        listed.items = [trap]
        rows = await ask(listed.url)
        with pytest.raises(Permanent, match="no such row"):
            matching(rows, METER, known, NOW)


async def test_the_request_is_the_documented_one(listed: RetailPricesStandIn) -> None:
    await ask(listed.url, Meter("Storage", "Tables", sku="O'Brien", name="LRS Data Stored"), region="global")
    assert listed.asked == [
        {
            "api-version": "2023-01-01-preview",
            "currencyCode": "'USD'",
            "$filter": (
                "serviceName eq 'Storage' and productName eq 'Tables' and skuName eq 'O''Brien'"
                " and meterName eq 'LRS Data Stored' and armRegionName eq 'Global' and priceType eq 'Consumption'"
            ),
        }
    ]


async def test_all_pages_are_read(listed: RetailPricesStandIn) -> None:
    listed.page_size = 4
    rows = await ask(listed.url)
    assert [each.amount for each in rows] == [
        Decimal(str(each["retailPrice"])) for each in listed.items if each["type"] == "Consumption"
    ]
    assert [each.get("$skip") for each in listed.asked] == [None, "4", "8"]


async def test_an_amount_is_read_as_it_is_written(listed: RetailPricesStandIn) -> None:
    listed.items = [item(retailPrice=4e-06, tierMinimumUnits=25000.0, unitOfMeasure="10"), item(retailPrice=1)]
    assert [(each.amount, each.tier) for each in await ask(listed.url)] == [
        (Decimal("0.000004"), Decimal(25000)),
        (Decimal(1), Decimal(0)),
    ]
    assert {each.unit for each in await ask(listed.url)} == {Unit.TEN, Unit.HOUR}
    digits = "0.12345678901234567890123"
    page = json.dumps({"Items": [item(retailPrice=5)], "NextPageLink": None})
    listed.replies = [web.Response(text=page.replace('"retailPrice": 5', f'"retailPrice": {digits}'))]
    assert [str(each.amount) for each in await ask(listed.url)] == [digits]


async def test_rows_that_say_nothing_are_left_out(
    listed: RetailPricesStandIn, caplog: pytest.LogCaptureFixture
) -> None:
    whole = item()
    bad = [
        item(retailPrice="cheap"),
        item(retailPrice=None),
        item(effectiveStartDate="soon"),
        item(effectiveStartDate="2026-01-01T00:00:00"),
        {name: value for name, value in whole.items() if name != "meterId"},
    ]
    listed.items = [*bad, whole, item(armSkuName="Standard_D4as_v5", reservationTerm=None, skuName=" padded ")]
    assert [each.sku for each in await ask(listed.url)] == ["Standard_D4as_v5", "padded"]
    assert "rows of azure's price list skipped count=5" in caplog.text
    listed.replies = [web.json_response({"Items": ["text", None, 5], "NextPageLink": ""})]
    assert await ask(listed.url) == []


@pytest.mark.parametrize("links", ["same", "fresh"])
async def test_pages_that_do_not_end_are_no_result(listed: RetailPricesStandIn, links: str) -> None:
    listed.page_size = 1
    if links == "same":
        listed.link = lambda link: link.replace("skip=2", "skip=1")
    else:
        listed.link = lambda link: link.replace("skip=1", f"skip=0&n={len(listed.asked)}")
    with pytest.raises(Transient, match="do not end"):
        await ask(listed.url)
    assert len(listed.asked) == (2 if links == "same" else MAX_PAGES)


async def test_a_link_to_another_server_is_not_followed(listed: RetailPricesStandIn) -> None:
    listed.page_size = 1
    listed.link = lambda _: "http://169.254.169.254/metadata"
    with pytest.raises(Transient, match=r"leads to 169.254.169.254"):
        await ask(listed.url)
    listed.replies = [web.Response(status=302, headers={"Location": "http://127.0.0.1:9/"})]
    with pytest.raises(Permanent, match="refuses the request: 302"):
        await ask(listed.url)


@pytest.mark.parametrize(
    ("link", "same"),
    [
        ("https://prices.azure.com:443/api/retail/prices?$skip=100", True),
        ("https://prices.azure.com/api/retail/prices?$skip=100", True),
        ("https://prices.azure.com:8443/api/retail/prices?$skip=100", False),
        ("http://prices.azure.com/api/retail/prices?$skip=100", False),
        ("https://prices.azure.com.example/api/retail/prices?$skip=100", False),
        ("https://prices.azure.com@example.com/api/retail/prices?$skip=100", False),
        ("/api/retail/prices?$skip=100", False),
    ],
)
def test_a_link_to_the_list_may_name_the_usual_port(link: str, same: bool) -> None:
    assert is_same_server(URL(link), URL("https://prices.azure.com/api/retail/prices")) is same


async def test_what_may_work_later_is_tried_again(listed: RetailPricesStandIn) -> None:
    listed.page_size = 8
    listed.replies = [
        web.Response(status=429, headers={"Retry-After": "0"}),
        web.Response(status=500),
        web.json_response(
            {"Items": [], "NextPageLink": f"{listed.url}?$filter=type eq 'Consumption'&currencyCode='USD'"}
        ),
        web.Response(status=503),
    ]
    rows = await ask(listed.url, seconds=20)
    assert len(rows) == 9
    assert len(listed.asked) == 6


async def test_the_list_says_how_long_to_wait(listed: RetailPricesStandIn) -> None:
    listed.replies = [web.Response(status=429, headers={"Retry-After": "45"})]
    with pytest.raises(Transient, match="responds 429") as caught:
        await ask(listed.url, seconds=20)
    assert caught.value.retry_after == 45
    assert len(listed.asked) == 1


@pytest.mark.parametrize(
    ("reply", "error", "text"),
    [
        (web.Response(status=500, text="<html>"), Transient, "responds 500"),
        (web.Response(status=400), Permanent, "refuses the request: 400"),
        (web.Response(status=404), Permanent, "refuses the request: 404"),
        (web.Response(text="<html>"), Transient, "no JSON"),
        (web.Response(text="[]"), Transient, "not one of azure's price list"),
        (web.json_response({"Items": None}), Transient, "not one of azure's price list"),
        (web.json_response({"Items": [], "NextPageLink": 5}), Transient, "not one of azure's price list"),
        (web.json_response({"Items": [], "NextPageLink": "next"}), Transient, "leads to None"),
    ],
)
async def test_what_is_no_page_is_an_error(
    listed: RetailPricesStandIn, reply: web.Response, error: type[BerthError], text: str
) -> None:
    listed.replies = [reply]
    with pytest.raises(error, match=text):
        await ask(listed.url)


async def test_a_list_that_is_away_is_transient() -> None:
    with pytest.raises(Unreachable, match="does not respond"):
        await ask("http://127.0.0.1:9/api/retail/prices")
