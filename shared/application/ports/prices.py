"""Prices that were found after the deployment, and Azure's public price list."""

from collections.abc import Sequence
from typing import Protocol

from shared.domain.prices import Price
from shared.domain.retail_prices import Meter, RetailRow


class PriceRepository(Protocol):
    """The prices that were found; none is ever changed or removed."""

    async def all(self, currency: str) -> Sequence[Price]:
        """Return all prices in a currency, those of one thing in one region in the order in which they were added."""
        ...

    async def add(self, price: Price, *, number: int) -> None:
        """Add a price.

        Args:
            price: The price.
            number: How many there were of the same thing in the same region and currency.

        Raises:
            Conflict: Somebody else has added one since they were counted.
        """
        ...


class RetailPrices(Protocol):
    """Azure's public price list."""

    async def rows(self, meter: Meter, *, region: str, currency: str) -> Sequence[RetailRow]:
        """Return the rows that look like a meter's in a region; malformed ones are left out.

        Raises:
            Transient: The list does not respond, or not with all pages.
            Permanent: It refuses the request.
        """
        ...
