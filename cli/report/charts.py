"""The charts of the page, as SVG that is a part of it.

Each colour is a name, which the page's style sheet gives a colour for light, dark and print. matplotlib knows no such
names: it draws with a placeholder for each, which is replaced.
"""

import re
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from io import StringIO
from typing import Any
from xml.etree import ElementTree

import matplotlib as mpl
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from matplotlib.typing import RcKeyType

INK, MUTED, GRID = "ink", "muted", "grid"
SERIES = tuple(f"s{number}" for number in range(1, 8))
_PLACEHOLDERS = {name: f"#0101{number:02x}" for number, name in enumerate((INK, MUTED, GRID, *SERIES), 16)}
_NAMES = {placeholder: name for name, placeholder in _PLACEHOLDERS.items()}
_INCHES = 5.6, 3.0
_MAX_TICKS = 6
_FEWEST = 7  # places for which there is room
_STYLE: dict[RcKeyType, Any] = {
    "svg.fonttype": "none",  # text stays text, in the font of the page
    "text.parse_math": False,
    "font.size": 11.5,
    "axes.unicode_minus": False,
}


@dataclass(frozen=True, slots=True)
class Series:
    """Numbers that belong together; None where there is none.

    Attributes:
        name: What they are.
        colour: The name of a colour.
        values: One for each place on the horizontal axis.
        dashes: How a line is drawn: `-`, `--` or `:`.
    """

    name: str
    colour: str
    values: Sequence[float | None]
    dashes: str = "-"


def day_names(days: Sequence[date]) -> Sequence[str]:
    """Return days as the axis has them."""
    return [f"{each.day} {each:%b}" for each in days]


def lines(name: str, places: Sequence[str], series: Sequence[Series]) -> Markup:
    """Return a chart of lines over some places."""
    figure, axes = _new(places)
    top = 0.0
    for each in reversed(series):  # so that the first one is never hidden
        known = [(place, value) for place, value in enumerate(each.values) if value is not None]
        # A line without a marker would not be seen if it has one place only.
        marker = "o" if each.dashes == "-" else ("" if len(known) > 1 else "_")
        size = 4 if each is series[0] else 6
        colour = _PLACEHOLDERS[each.colour]
        xs, ys = [place for place, _ in known], [value for _, value in known]
        axes.plot(xs, ys, color=colour, linestyle=each.dashes, linewidth=1.8, marker=marker, markersize=size)
        top = max([top, *ys])
    axes.set_ylim(0, 1.08 * top or 1)
    return _svg(name, figure)


def stack(name: str, places: Sequence[str], series: Sequence[Series], *, outline: Series | None = None) -> Markup:
    """Return a chart of bars over some places, each made of all series, and perhaps a line beside them."""
    figure, axes = _new(places)
    xs, bottom = list(range(len(places))), [0.0] * len(places)
    for each in series:
        values = [value or 0.0 for value in each.values]
        axes.bar(xs, values, width=0.72, bottom=bottom, color=_PLACEHOLDERS[each.colour], linewidth=0)
        bottom = [under + value for under, value in zip(bottom, values, strict=True)]
    if outline is not None:
        known = [(place, value) for place, value in enumerate(outline.values) if value is not None]
        edges, heights = [place for place, _ in known], [value for _, value in known]
        axes.plot(edges, heights, color=_PLACEHOLDERS[outline.colour], linestyle=outline.dashes, linewidth=1.6)
    axes.set_ylim(bottom=0)
    return _svg(name, figure)


def _new(places: Sequence[str]) -> tuple[Figure, Axes]:
    with _style():
        figure = Figure(figsize=_INCHES, layout="constrained")
        axes = figure.add_subplot()
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    axes.spines["bottom"].set_color(_PLACEHOLDERS[MUTED])
    axes.grid(axis="y", color=_PLACEHOLDERS[GRID], linewidth=0.8)
    axes.set_axisbelow(True)
    axes.tick_params(color=_PLACEHOLDERS[MUTED], labelcolor=_PLACEHOLDERS[INK], length=0)
    axes.tick_params(axis="x", pad=8)  # away from the 0 of the other axis
    axes.yaxis.set_major_locator(MaxNLocator(5))
    step = -(-len(places) // _MAX_TICKS)
    shown = range(0, len(places), step)
    axes.set_xticks(list(shown), [places[place] for place in shown])
    beside = max(0, _FEWEST - len(places)) / 2  # one place alone is in the middle
    axes.set_xlim(-0.6 - beside, len(places) - 0.4 + beside)
    figure.patch.set_visible(False)
    axes.patch.set_visible(False)
    return figure, axes


@contextmanager
def _style(more: Mapping[RcKeyType, Any] | None = None) -> Generator[None]:
    """Draw as this module says, whatever a person has set for matplotlib."""
    with mpl.rc_context():
        mpl.rcdefaults()
        mpl.rcParams.update({**_STYLE, **(more or {})})
        yield


def _svg(name: str, figure: Figure) -> Markup:
    """Return a chart as an element of the page; its name keeps its ids apart from those of other charts."""
    written = StringIO()
    with _style({"svg.hashsalt": name}):  # the same figures give the same page
        FigureCanvasSVG(figure).print_svg(written, metadata={"Date": None})
    root = ElementTree.fromstring(written.getvalue())  # noqa: S314 - it was written right here
    for element in root.iter():
        for child in [each for each in element if each.tag.endswith(("}metadata", "}style"))]:
            element.remove(child)
        element.tag = element.tag.rpartition("}")[2]
        element.attrib = {key.rpartition("}")[2]: _in_page(name, key, text) for key, text in element.items()}
    for attribute in ("width", "height", "version"):
        root.attrib.pop(attribute, None)
    root.attrib |= {"aria-hidden": "true", "focusable": "false"}  # what it shows is told beside it
    return Markup(ElementTree.tostring(root, encoding="unicode"))  # noqa: S704 - all text in it is escaped


def _in_page(name: str, key: str, text: str) -> str:
    if key == "id":
        return f"{name}-{text}"
    text = re.sub(r"#0101[0-9a-f]{2}", lambda found: f"var(--{_NAMES[found[0]]})", text)
    text = re.sub(r"(font: [0-9.]+px)[^;]*", r"\1 var(--font)", text)
    return re.sub(r"^#|(?<=url\()#", f"#{name}-", text)


def legend(series: Sequence[Series]) -> Sequence[Mapping[str, str]]:
    """Return what the colours and lines of a chart mean."""
    styles = {"-": "solid", "--": "dashed", ":": "dotted"}
    return [{"name": each.name, "colour": each.colour, "style": styles[each.dashes]} for each in series]
