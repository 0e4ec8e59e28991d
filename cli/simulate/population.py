"""A made-up population of customers: when each signs up, uses its tenant, pays, and is gone.

All of it comes from a seed, before any policy is played, so that all policies are compared on the same customers.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from random import Random

from shared.domain.slugs import Slug

START = datetime(2026, 9, 1, tzinfo=UTC)  # not today: the same seed gives the same costs on any day
DAY = timedelta(days=1)
GRID = timedelta(minutes=15)  # all times are on it
TRIAL_DAYS = 30
KEPT_DAYS = 60


FOUR_WEEKS = 28


class Kind(StrEnum):
    """What a customer does."""

    LEAVES = "leaves"
    LOW_USE = "low use"
    PAYS = "pays"


@dataclass(frozen=True, slots=True)
class Habits:
    """What is drawn.

    Attributes:
        abandonment: The share that leaves within days.
        conversion: The share that pays after the trial; all others have low use.
        low_use_days: On how many days of four weeks a customer with low use comes.
        paying_days: On how many days of a week one comes that pays, or will.
    """

    abandonment: float = 0.5
    conversion: float = 0.2
    low_use_days: int = 1
    paying_days: int = 4

    @property
    def in_words(self) -> Sequence[str]:
        """What is drawn and how, and the reason for the default."""
        low_use = 1 - self.abandonment - self.conversion
        return (
            "arrivals: at any moment of the days, all equally likely: a launch without a campaign",
            f"leaves: {self.abandonment:.0%} use their tenant at the signup, and on each day after that with one half, "
            f"until the first day without; it is deleted {KEPT_DAYS} days after its last use under all policies alike. "
            "Assumed: half of those who try something do not come back",
            f"pays: {self.conversion:.0%} use it on {self.paying_days} days of 7 and get the plan standard after "
            f"{TRIAL_DAYS} days. Trials without a card convert 15 to 25 %, say published benchmarks",
            f"low use: the other {low_use:.0%} use it on {self.low_use_days} of each {FOUR_WEEKS} days, any of them, "
            "and keep the plan trial. One day in four weeks is assumed: who still looks in. With 7 idle days it is "
            "awake for a good week of them, as the comments of plans.yaml have it",
            "use of a day: begins from 08:00 to 16:45 UTC and lasts 15 minutes to 4 hours, all equally likely, on a "
            "grid of 15 minutes; the signup's own at any hour. Assumed: part of a working day",
        )


@dataclass(frozen=True, slots=True)
class Customer:
    """One customer.

    Attributes:
        slug: Its name.
        kind: What it does.
        arrives: When it signs up.
        uses: From when to when it uses its tenant, in order; the first is the signup.
        pays: When it gets the plan that costs; None for never.
        leaves: When its tenant is deleted; None for never.
    """

    slug: Slug
    kind: Kind
    arrives: datetime
    uses: Sequence[tuple[datetime, datetime]]
    pays: datetime | None = None
    leaves: datetime | None = None


def population(tenants: int, days: int, seed: int, habits: Habits) -> Sequence[Customer]:
    """Return the customers, in the order in which they sign up."""
    # Whoever has the seed has the population: this is no secret.
    random = Random(seed)  # noqa: S311
    end, slots = START + days * DAY, days * (DAY // GRID)
    arrivals = sorted(_below(random, slots) for _ in range(tenants))
    return [
        _customer(random, Slug(f"customer-{number:06}"), START + slot * GRID, end, habits)
        for number, slot in enumerate(arrivals, 1)
    ]


def _customer(random: Random, slug: Slug, arrives: datetime, end: datetime, habits: Habits) -> Customer:
    drawn, first = random.random(), (arrives, arrives + _duration(random))
    midnight = arrives.replace(hour=0, minute=0)
    if drawn < habits.abandonment:
        uses = [first]
        while random.random() < 0.5:
            uses.append(_use(random, midnight + len(uses) * DAY))
        return Customer(slug, Kind.LEAVES, arrives, uses, leaves=uses[-1][1] + KEPT_DAYS * DAY)
    if drawn < habits.abandonment + habits.conversion:
        uses = [first, *_some_days(random, midnight + DAY, end, habits.paying_days, 7)]
        return Customer(slug, Kind.PAYS, arrives, uses, pays=arrives + TRIAL_DAYS * DAY)
    uses = [first, *_some_days(random, midnight + DAY, end, habits.low_use_days, FOUR_WEEKS)]
    return Customer(slug, Kind.LOW_USE, arrives, uses)


def _some_days(random: Random, day: datetime, end: datetime, days: int, of: int) -> Iterator[tuple[datetime, datetime]]:
    """Yield a use on so many days of each so many from a day on."""
    while day < end:
        chosen = sorted(random.sample(range(of), days))
        yield from (_use(random, day + each * DAY) for each in chosen)
        day += of * DAY


def _use(random: Random, midnight: datetime) -> tuple[datetime, datetime]:
    begins = midnight + timedelta(hours=8) + _below(random, 36) * GRID
    return begins, begins + _duration(random)


def _duration(random: Random) -> timedelta:
    return (1 + _below(random, 16)) * GRID


def _below(random: Random, number: int) -> int:
    return int(random.random() * number)
