"""The goals that `--check` of the benchmarks holds: a value that was measured, and the most that it may be."""

from collections.abc import Sequence
from dataclasses import dataclass

NAME_WIDTH = 48


@dataclass(frozen=True)
class Goal:
    """What was measured, and its limit; both in the unit that the name says."""

    name: str
    value: float
    limit: float

    @property
    def met(self) -> bool:
        return self.value <= self.limit


def growth(before: float, after: float) -> float:
    """Return by how many percent a number has grown; from nothing to something without end."""
    if before == 0:
        return float("inf") if after else 0.0
    return 100 * (after - before) / before


def judged(goals: Sequence[Goal], *, check: bool) -> int:
    """Print each goal, and return the exit code: with `check`, 1 when one is missed."""
    print("goals:")
    for goal in goals:
        verdict = "met" if goal.met else "MISSED"
        print(f"  {goal.name:{NAME_WIDTH}}{goal.value:.3g}, at most {goal.limit:g}: {verdict}")
    return 1 if check and not all(goal.met for goal in goals) else 0
