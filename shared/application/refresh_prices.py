"""The refresh of the prices from Azure's public price list.

A price that has changed is added to those that are known, from its start on or, if it began before it was seen, from
now on: costs that were computed with the old one stay true. What cannot be believed, or is not found, is logged, and
the price stays as it is known.
"""

import logging
from dataclasses import replace
from datetime import datetime
from decimal import Decimal

from shared.application.ports.clock import Clock
from shared.application.ports.prices import PriceRepository, RetailPrices
from shared.domain.prices import Price, PriceBook, PriceId
from shared.domain.retail_prices import PriceDocument, RetailRow, is_plausible, matching
from shared.errors import Conflict, Permanent, Transient
from shared.events import log_event
from shared.settings import PricesSettings

logger = logging.getLogger(__name__)

MAX_SECONDS = 480.0  # of one run; the Functions host ends a function after 600, by host.json
MAX_FAILURES = 3  # in a row, after which the list is away


class RefreshPrices:
    """Asks the list for each price of the document that says where it is listed."""

    def __init__(
        self,
        *,
        document: PriceDocument,
        prices: PriceRepository,
        retail: RetailPrices,
        clock: Clock,
        settings: PricesSettings,
    ) -> None:
        self._document = document
        self._prices = prices
        self._retail = retail
        self._clock = clock
        self._max_factor = Decimal(str(settings.max_factor))

    async def run(self) -> None:
        """Add what has changed, and log how many prices were read and how many have changed.

        It is safe to run twice, and in two workers at the same time.

        Raises:
            Transient: The list, or the tables, did not respond for some prices, which are as they were; the others are
                up to date.
        """
        document = self._document
        stored = await self._prices.all(document.book.currency)
        book = document.book.with_stored(stored)
        listed = {(each.id, each.region) for each in document.book.prices if not each.agreed}
        wanted = [(each, region) for each, region in sorted(listed) if each in document.meters]
        deadline = self._clock.monotonic() + MAX_SECONDS
        read = changed = failed_in_a_row = 0
        failure: Transient | None = None
        for price, region in wanted:
            if failed_in_a_row == MAX_FAILURES or self._clock.monotonic() > deadline:
                break
            number = sum((each.id, each.region) == (price, region) for each in stored)
            try:
                changed += await self._refresh(book, price, region, number)
                read += 1
                failed_in_a_row = 0
            except Transient as error:
                failure = error
                failed_in_a_row += 1
            except Conflict:
                read += 1
                log_event(logger, "price added by another worker", price=price, region=region)
            except Permanent as error:
                _log_refused(price, region, str(error))
        log_event(logger, "prices refreshed", read=read, changed=changed, of=len(wanted))
        if failure is not None:
            raise failure

    async def _refresh(self, book: PriceBook, price: PriceId, region: str, number: int) -> int:
        """Add the changes of one price, of which so many were added before, and return how many they are."""
        meter = self._document.meters[price]
        known = book.last_known(price, region, self._clock.now())
        if known is None:  # it begins in the future
            return 0
        count = 0
        rows = await self._retail.rows(meter, region=region, currency=known.currency)
        for row in matching(rows, meter, known, self._clock.now()):
            since = max(row.since, self._clock.now())
            before = book.last_known(price, region, since) or known
            if before.holds_at(since) and before.amount == row.amount:
                continue
            if not is_plausible(row.amount, before.amount, factor=self._max_factor):
                _log_refused(price, region, f"{row.amount:f} instead of {before.amount:f} is not plausible")
                continue
            change = _change(known, row, since, self._clock.now())
            await self._prices.add(change, number=number + count)
            book = book.with_stored([change])
            count += 1
            log_event(
                logger,
                "price changed",
                price=price,
                region=region,
                before=f"{before.amount:f}",
                after=f"{row.amount:f}",
                since=since.isoformat(),
            )
        return count


def _change(known: Price, row: RetailRow, since: datetime, now: datetime) -> Price:
    source = f"Azure Retail Prices API, meter {row.meter_id}"
    return replace(known, amount=row.amount, since=since, until=None, source=source, seen=now, verified=True)


def _log_refused(price: PriceId, region: str, cause: str) -> None:
    log_event(logger, "price not taken", level=logging.WARNING, price=price, region=region, cause=cause)
