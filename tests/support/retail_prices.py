"""A stand-in of Azure's public price list on loopback: it filters, pages and fails as the documented API does.

Its rows have the names and amounts that Azure had for westeurope in August 2026. The dates are made up.
"""

import contextlib
import re
from collections.abc import AsyncGenerator, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

PATH = "/api/retail/prices"
_TERM = re.compile(r"(\w+) eq '((?:[^']|'')*)'")

type Item = dict[str, Any]


def item(**fields: Any) -> Item:
    """Return a row: by default, a Linux machine's; with the arguments instead of what it has."""
    usual = {
        "currencyCode": "USD",
        "tierMinimumUnits": 0.0,
        "retailPrice": 0.208,
        "unitPrice": 0.208,
        "armRegionName": "westeurope",
        "location": "EU West",
        "effectiveStartDate": "2021-11-01T00:00:00Z",
        "meterId": "b69c5dbc-6df2-5b78-8822-fb32b72f3d64",
        "meterName": "D4as v5",
        "productId": "DZH318Z08W0T",
        "skuId": "DZH318Z08W0T/004G",
        "productName": "Virtual Machines Dasv5 Series",
        "skuName": "Standard_D4as_v5",
        "serviceName": "Virtual Machines",
        "serviceId": "DZH313Z7MMC8",
        "serviceFamily": "Compute",
        "unitOfMeasure": "1 Hour",
        "type": "Consumption",
        "isPrimaryMeterRegion": True,
        "armSkuName": "Standard_D4as_v5",
    }
    return usual | fields


def rows_of_one_machine() -> list[Item]:
    """Return all rows that share one `armSkuName`: only the last is a Linux machine at its full price."""
    windows, cloud = "Virtual Machines Dasv5 Series Windows", "Dasv5 Series Cloud Services"
    spot = {"skuName": "Standard_D4as_v5 Spot", "meterName": "D4as v5 Spot"}
    low = {"skuName": "Standard_D4as_v5 Low Priority", "meterName": "D4as v5 Low Priority"}
    return [
        item(productName=windows, retailPrice=0.392),
        item(productName=windows, retailPrice=0.072442, **spot),
        item(productName=windows, retailPrice=0.157, **low),
        item(productName=cloud, retailPrice=0.392),
        item(productName=cloud, retailPrice=0.157, **low),
        item(retailPrice=0.038438, **spot),
        item(retailPrice=0.0416, **low),
        item(retailPrice=1074.0, type="Reservation", reservationTerm="1 Year"),
        item(retailPrice=0.2, type="DevTestConsumption"),
        item(retailPrice=0.25, tierMinimumUnits=100.0),
        item(savingsPlan=[{"unitPrice": 0.15808, "retailPrice": 0.15808, "term": "1 Year"}]),
    ]


@dataclass
class RetailPricesStandIn:
    """The list.

    Attributes:
        items: All rows.
        page_size: How many rows a page has.
        url: Its address, while it serves.
        asked: The parameters of each request so far.
        replies: What to respond to the next requests instead, in order.
        link: Makes the address of the next page from the one that it would be.
    """

    items: list[Item] = field(default_factory=rows_of_one_machine)
    page_size: int = 100
    url: str = ""
    asked: list[Mapping[str, str]] = field(default_factory=list[Mapping[str, str]])
    replies: list[web.Response] = field(default_factory=list[web.Response])
    link: Callable[[str], str] = lambda link: link

    @contextlib.asynccontextmanager
    async def serving(self) -> AsyncGenerator["RetailPricesStandIn"]:
        """Listen on a free port of loopback within this context."""
        app = web.Application()
        app.router.add_get(PATH, self._handle)
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        self.url = f"http://127.0.0.1:{runner.addresses[0][1]}{PATH}"
        try:
            yield self
        finally:
            await runner.cleanup()

    async def _handle(self, request: web.Request) -> web.Response:
        query = dict(request.query)
        self.asked.append(query)
        if self.replies:
            return self.replies.pop(0)
        terms = _terms(query.get("$filter", ""))
        if not terms:
            return web.json_response({"Error": {"Code": "BadRequest"}}, status=400)
        found = [each for each in self.items if all(each.get(name) == value for name, value in terms.items())]
        start = int(query.get("$skip", "0"))
        page = found[start : start + self.page_size]
        following = request.url.update_query({"$skip": str(start + self.page_size)})
        more = start + self.page_size < len(found)
        return web.json_response(
            {
                "BillingCurrency": query["currencyCode"].strip("'"),
                "CustomerEntityId": "Default",
                "CustomerEntityType": "Retail",
                "Items": page,
                "NextPageLink": self.link(str(following)) if more else None,
                "Count": len(page),
            }
        )


def _terms(text: str) -> Mapping[str, str]:
    """Return what a filter asks for by the names of the rows; empty if it is none."""
    found = [_TERM.fullmatch(each) for each in text.split(" and ")]
    terms = {each[1]: each[2].replace("''", "'") for each in found if each is not None}
    names = {"priceType": "type"}
    return {names.get(name, name): value for name, value in terms.items()} if len(terms) == len(found) else {}
