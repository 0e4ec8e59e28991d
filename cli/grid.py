"""A table of text, for the terminal and for a page."""

from collections.abc import Sequence
from dataclasses import dataclass

from rich.table import Table


@dataclass(frozen=True, slots=True)
class Grid:
    """A table of text.

    Attributes:
        columns: Their names; some have none.
        rows: In each as many cells.
        numbers: The columns that are aligned to the right.
    """

    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    numbers: Sequence[str] = ()

    @property
    def table(self) -> Table:
        """Return it for the terminal."""
        table = Table(box=None)
        for name in self.columns:
            table.add_column(name, justify="right" if name in self.numbers else "left")
        for row in self.rows:
            table.add_row(*row)
        return table
