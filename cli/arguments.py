"""Types of arguments that several commands have."""

import argparse
from collections.abc import Callable


def at_least(minimum: int) -> Callable[[str], int]:
    """Return the type of an argument that is a whole number, and not less than another one."""

    def number(text: str) -> int:
        found = int(text)
        if found < minimum:
            raise argparse.ArgumentTypeError(f"must be at least {minimum}")
        return found

    return number
