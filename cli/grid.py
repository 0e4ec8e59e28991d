"""A table of text, for the terminal and for a page."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from rich.cells import cell_len
from rich.table import Table
from rich.text import Text

PADDING = 2  # spaces around each cell
LEAST_CUT = 10  # characters that a cell keeps, however narrow the terminal is


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

    def cut_to(self, width: int) -> "Grid":
        """Return it with the last cell of each row cut, so that no line is wider than this many characters."""
        widths = [max(map(cell_len, column)) for column in zip(self.columns, *self.rows, strict=True)]
        room = max(LEAST_CUT, width - sum(each + PADDING for each in widths[:-1]) - PADDING)
        return replace(self, rows=[[*row[:-1], _cut(row[-1], room)] for row in self.rows])


def _cut(text: str, width: int) -> str:
    cell = Text(text)
    cell.truncate(width, overflow="ellipsis")
    return cell.plain
