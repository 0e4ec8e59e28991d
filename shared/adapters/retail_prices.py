"""Azure's public price list over its HTTP API, which wants no sign-in.

https://learn.microsoft.com/rest/api/cost-management/retail-prices/azure-retail-prices
"""

import asyncio
import json
import logging
from collections.abc import Sequence
from decimal import Decimal
from http import HTTPStatus
from typing import Annotated, Any

import aiohttp
from pydantic import AwareDatetime, BaseModel, BeforeValidator, ConfigDict, ValidationError
from pydantic.alias_generators import to_camel
from yarl import URL

from shared.adapters.retry import RetryPolicy, retry_after, with_retry
from shared.domain.prices import Unit
from shared.domain.retail_prices import CONSUMPTION, Meter, RetailRow, azure_region
from shared.errors import Permanent, Transient, Unreachable
from shared.events import log_event

logger = logging.getLogger(__name__)

VERSION = "2023-01-01-preview"  # from which on the values of a filter are case sensitive
ATTEMPT_TIMEOUT = 20.0  # seconds
POLICY = RetryPolicy(total_timeout=90)
MAX_PAGES = 20  # of about 100 rows: a filter names a meter, which has a few
_MAY_WORK_LATER = frozenset({HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_MANY_REQUESTS})
_UNITS = {
    "1 Hour": Unit.HOUR,
    "1/Hour": Unit.HOUR,
    "1/Day": Unit.DAY,
    "1/Month": Unit.MONTH,
    "1 GB/Month": Unit.GB_MONTH,
    "1 GB": Unit.GB,
    "1 GB Second": Unit.GB_SECOND,
    "10": Unit.TEN,
    "10K": Unit.TEN_THOUSAND,
    "10M": Unit.TEN_MILLION,
}

OptionalText = Annotated[str, BeforeValidator(lambda value: "" if value is None else value)]


class _Item(BaseModel):
    """One row as the API has it; some names have spaces around them."""

    model_config = ConfigDict(alias_generator=to_camel, str_strip_whitespace=True)

    service_name: str
    product_name: str
    arm_sku_name: OptionalText = ""
    sku_name: str
    meter_name: str
    meter_id: str
    tier_minimum_units: Decimal
    arm_region_name: OptionalText = ""
    currency_code: str
    unit_of_measure: str
    retail_price: Decimal
    type: str
    reservation_term: OptionalText = ""
    is_primary_meter_region: bool = False
    effective_start_date: AwareDatetime
    effective_end_date: AwareDatetime | None = None


class RetailPricesApi:
    """Implements `shared.application.ports.prices.RetailPrices`.

    Args:
        url: The address of the list.
        policy: How long to retry one page.
    """

    def __init__(self, url: str, policy: RetryPolicy = POLICY) -> None:
        self._url = URL(url)
        self._policy = policy
        self._session: aiohttp.ClientSession | None = None

    async def rows(self, meter: Meter, *, region: str, currency: str) -> Sequence[RetailRow]:
        """Return the rows that look like a meter's; raises Transient, and Permanent for a request that is refused."""
        query = {"api-version": VERSION, "currencyCode": f"'{currency}'", "$filter": _filter(meter, region)}
        page: URL | None = self._url.with_query(query)
        read: set[URL] = set()
        rows: list[RetailRow] = []
        while page is not None:
            if page in read or len(read) == MAX_PAGES:
                raise Transient("the pages of azure's price list do not end")
            read.add(page)
            items, page = await self._page(page)
            rows += items
        return rows

    async def close(self) -> None:
        """Close the connections."""
        if self._session is not None:
            await self._session.close()

    async def _page(self, url: URL) -> tuple[Sequence[RetailRow], URL | None]:
        """Return the rows of a page, and the address of the next one."""
        document = await with_retry(lambda: self._get(url), self._policy, dependency="azure's price list")
        try:
            items, link = list(document["Items"]), document.get("NextPageLink")
            following = URL(link) if link else None
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise Transient(f"the response is not one of azure's price list: {type(error).__name__}") from error
        if following is not None and not is_same_server(following, self._url):
            raise Transient(f"azure's price list leads to {following.host}, which is not asked")
        return _rows(items), following

    async def _get(self, url: URL) -> Any:
        if self._session is None:  # which belongs to the loop that runs now
            self._session = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=ATTEMPT_TIMEOUT))
        try:
            async with self._session.get(url, allow_redirects=False) as response:
                status, wait = response.status, retry_after(response.headers)
                body = await response.read()
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise Unreachable(f"azure's price list does not respond: {type(error).__name__}") from error
        if status >= HTTPStatus.INTERNAL_SERVER_ERROR or status in _MAY_WORK_LATER:
            raise Transient(f"azure's price list responds {status}", wait)
        if status != HTTPStatus.OK:
            raise Permanent(f"azure's price list refuses the request: {status}")
        try:
            return await asyncio.to_thread(json.loads, body, parse_float=Decimal)  # exactly as it is written
        except ValueError as error:
            raise Transient("the response is not one of azure's price list: no JSON") from error


def is_same_server(one: URL, other: URL) -> bool:
    """Whether two addresses lead to the same server; the list's own links name the port that is the default."""
    return (one.scheme, one.host, one.port) == (other.scheme, other.host, other.port)


def _filter(meter: Meter, region: str) -> str:
    """Return the OData filter of a meter, as narrow as it can be: the whole list has several 100,000 rows."""
    pairs = (
        ("serviceName", meter.service),
        ("productName", meter.product),
        ("armSkuName", meter.arm_sku),
        ("skuName", meter.sku),
        ("meterName", meter.name),
        ("armRegionName", azure_region(region)),
        ("priceType", CONSUMPTION),
    )
    return " and ".join(f"{name} eq '{value.replace("'", "''")}'" for name, value in pairs if value)


def _rows(items: Sequence[Any]) -> Sequence[RetailRow]:
    """Return what items say; those that say nothing intelligible are left out, and their number is logged."""
    rows: list[RetailRow] = []
    for each in items:
        try:
            rows.append(_row(_Item.model_validate(each)))
        except ValidationError:
            continue
    if len(rows) < len(items):
        log_event(logger, "rows of azure's price list skipped", level=logging.WARNING, count=len(items) - len(rows))
    return rows


def _row(item: _Item) -> RetailRow:
    return RetailRow(
        service=item.service_name,
        product=item.product_name,
        arm_sku=item.arm_sku_name,
        sku=item.sku_name,
        name=item.meter_name,
        tier=item.tier_minimum_units,
        region=item.arm_region_name,
        currency=item.currency_code,
        meter_id=item.meter_id,
        unit=_UNITS.get(item.unit_of_measure),
        amount=item.retail_price,
        kind=item.type,
        reservation_term=item.reservation_term,
        primary=item.is_primary_meter_region,
        since=item.effective_start_date,
        until=item.effective_end_date,
    )
