"""The console that the commands print to."""

from rich.console import Console

PIPED_COLUMNS = 1000  # a pipe has no width: nothing is to be wrapped for it


def console(*, stderr: bool = False) -> Console:
    """Return a console that prints text as it is, and that wraps nothing when the output is piped."""
    made = Console(stderr=stderr, highlight=False, markup=False, emoji=False, soft_wrap=True)
    if not made.is_terminal:
        made.width = PIPED_COLUMNS
    return made
