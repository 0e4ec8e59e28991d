"""The app settings that switch off what berth does on its own, for reading: they are changed at the app."""

from collections.abc import Sequence
from dataclasses import dataclass

from shared.settings import Settings


@dataclass(frozen=True, slots=True)
class Switch:
    """An app setting: what it switches, its name, and what is set."""

    what: str
    name: str
    value: str


def switches(settings: Settings) -> Sequence[Switch]:
    """Return all of them, without a secret."""
    required = ", ".join(settings.activity.required)
    return [
        Switch("Sweeps put tenants to sleep", "BERTH_SWEEP_ENABLED", _on(is_on=settings.sweep.enabled)),
        Switch("The nightly sweep starts", "BERTH_SWEEP_SCHEDULE", settings.sweep.schedule),
        Switch(
            "Sources that have to watch before a tenant counts as dormant; without one, no nightly sweep",
            "BERTH_ACTIVITY_REQUIRED_SOURCES",
            required or "none",
        ),
        Switch(
            "Prices are refreshed from Azure's price list", "BERTH_PRICES_REFRESH", _on(is_on=settings.prices.refresh)
        ),
        Switch(
            "Reconciliation repairs what it finds",
            "BERTH_RECONCILIATION_REPAIR",
            _on(is_on=settings.reconciliation.repair),
        ),
    ]


def _on(*, is_on: bool) -> str:
    return "true" if is_on else "false"
