"""The price book in effect: the prices that are deployed, with those that were found since."""

from shared.application.ports.prices import PriceRepository
from shared.domain.prices import PriceBook
from shared.domain.retail_prices import PriceDocument


class PriceBooks:
    """Makes price books."""

    def __init__(self, *, document: PriceDocument, prices: PriceRepository) -> None:
        self._document = document
        self._prices = prices

    async def current(self) -> PriceBook:
        """Return the book with all prices that are known now; raises Transient."""
        base = self._document.book
        return base.with_stored(await self._prices.all(base.currency))
