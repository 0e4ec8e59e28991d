"""Amounts of money as people read them; `--json` has them with all digits."""

from collections.abc import Iterable
from decimal import Context, Decimal

CENTS, FINER = 2, 4
_WIDE = Context(prec=100)  # for percentages of next to nothing, too


def money(amount: Decimal, digits: int = CENTS) -> str:
    """Return an amount rounded to cents, or to more digits."""
    return f"{amount.quantize(Decimal(1).scaleb(-digits), context=_WIDE):,f}"


def digits_for(amounts: Iterable[Decimal]) -> int:
    """Return how many digits to show of amounts that people compare: more than cents if one of them is below a cent."""
    return FINER if any(0 < abs(each) < Decimal("0.01") for each in amounts) else CENTS
