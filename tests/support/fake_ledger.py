"""A cost ledger with the days that a test gives it."""

from collections.abc import Sequence
from datetime import date

from shared.domain.bill_error import LedgerDay


class FakeLedger:
    """Implements `shared.application.ports.bills.LedgerDays`, in one currency."""

    def __init__(self, *days: LedgerDay, currency: str = "USD") -> None:
        self.known = list(days)
        self._currency = currency

    async def days(self, first: date, last: date, *, currency: str) -> Sequence[LedgerDay]:
        """Return the days in a range that the test gave."""
        return [each for each in self.known if currency == self._currency and first <= each.day <= last]
