"""Values as the ops pages show them."""

from datetime import UTC, datetime
from decimal import Decimal

CENTS = Decimal("0.01")


def moment(at: datetime) -> str:
    """Return a moment to the minute."""
    return f"{at.astimezone(UTC):%Y-%m-%d %H:%M} UTC"


def iso(at: datetime) -> str:
    """Return a moment as a machine reads it."""
    return at.astimezone(UTC).isoformat(timespec="seconds")


def money(amount: Decimal) -> str:
    """Return an amount rounded to cents."""
    return f"{amount.quantize(CENTS):,f}"


def seconds(number: float | None) -> str:
    """Return seconds as a person reads them, or nothing."""
    if number is None:
        return ""
    return f"{number:.2f}" if number < 10 else f"{number:.1f}"
