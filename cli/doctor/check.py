"""A check and its result."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum


class State(StrEnum):
    """The result of a check, from the best to the worst."""

    OK = "ok"
    WARNS = "warns"
    """It works, and its operator should know something."""
    WAITS = "waits"
    """It comes by itself, within minutes."""
    MISSING = "missing"


@dataclass(frozen=True, slots=True)
class Check:
    """What was found about a part; unless that is ok, the text says what to do."""

    part: str
    state: State
    text: str = ""


def are_well(checks: Sequence[Check], *, strict: bool = False) -> bool:
    """Whether nothing is missing or still to come, nor, if `strict`, anything to know."""
    return all(each.state is State.OK or (each.state is State.WARNS and not strict) for each in checks)
