"""Telemetry as text: requests, log records and metrics as tables, a trace as a tree."""

from collections.abc import Iterable, Sequence

from rich.text import Text
from rich.tree import Tree

from cli.grid import Grid
from cli.telemetry.items import LOGS, Item, Point

# What a line of a tree has of an item, in this order, unless its name or the line above it has it, too.
SHOWN = (
    *("tenant", "operation", "kind", "step", "outcome", "failure", "verdict", "cluster", "dependency", "verb"),
    *("resource", "table", "writes", "retries", "attempt", "error", "faas.instance", "durabletask.task.status"),
)


def requests(found: Sequence[Item], limit: int) -> Grid:
    """Return the last requests, and what else the host has called the app for."""
    chosen = [each for each in found if each.kind == "RequestData"][-limit:]
    tenants = {each.trace: tenant for each in found if (tenant := each.properties.get("tenant"))}
    rows = [
        [_clock(each), each.name, _result(each), _duration(each.seconds), tenants.get(each.trace, ""), each.trace]
        for each in chosen
    ]
    return Grid(["time", "request", "result", "duration", "tenant", "trace"], rows, ["duration"])


def logs(found: Sequence[Item], limit: int) -> Grid:
    """Return the last log records and exceptions."""
    rows = [
        [_clock(each), each.result, each.name.splitlines()[0] if each.name else "", _fields(each), each.trace]
        for each in [each for each in found if each.kind in LOGS][-limit:]
    ]
    return Grid(["time", "severity", "text", "fields", "trace"], rows)


def metrics(found: Iterable[Point]) -> Grid:
    """Return the last value of each metric."""
    rows = [[each.name, each.dimensions, each.role, _number(each.value), *_distribution(each)] for each in found]
    numbers = ["last value", "of", "least", "most"]
    return Grid(["metric", "dimensions", "from", *numbers], rows, numbers)


def traces(found: Sequence[Item], limit: int) -> list[Tree]:
    """Return the traces that began last, each as a tree."""
    by_trace: dict[str, list[Item]] = {}
    for each in found:
        if each.trace:
            by_trace.setdefault(each.trace, []).append(each)
    return [_tree(trace, of_it) for trace, of_it in list(by_trace.items())[-limit:]]


def _tree(trace: str, found: Sequence[Item]) -> Tree:
    below: dict[str, list[Item]] = {}
    spans = {each.span for each in found if each.span}
    for each in found:
        below.setdefault(each.parent if each.parent in spans else "", []).append(each)
    root = Tree(Text(f"trace {trace}, {found[0].time:%Y-%m-%dT%H:%M:%SZ}"))

    def add(branch: Tree, parent: str, above: dict[str, str]) -> None:
        for each in below.get(parent, ()):
            known = {name: each.properties[name] for name in SHOWN if each.properties.get(name)}
            said = each.name.split()
            new = " ".join(
                f"{name}={value}" for name, value in known.items() if above.get(name) != value and value not in said
            )
            words = [f"+{(each.time - found[0].time).total_seconds():.3f} s", _line(each), new]
            twig = branch.add(Text("  ".join(word for word in words if word)))
            if each.span:
                add(twig, each.span, {**above, **known})

    add(root, "", {})
    return root


def _line(item: Item) -> str:
    if item.kind in LOGS:
        return f"{item.result}: {item.name.splitlines()[0] if item.name else ''}"
    return f"{item.name}  {_duration(item.seconds)}{f'  {_result(item)}' if _result(item) else ''}"


def _result(item: Item) -> str:
    return " ".join(filter(None, (item.result, "failed" if item.failed else "")))


def _fields(item: Item) -> str:
    return " ".join(
        f"{name}={value}" for name, value in sorted(item.properties.items()) if not name.startswith("code.")
    )


def _clock(item: Item) -> str:
    return f"{item.time:%H:%M:%S}.{item.time.microsecond // 1000:03}"


def _duration(seconds: float) -> str:
    return f"{seconds:.2f} s" if seconds >= 1 else f"{seconds * 1000:.0f} ms"


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.6g}"


def _distribution(point: Point) -> list[str]:
    """Return of how many values a point is, and the least and the most of them; nothing if it is one value."""
    if point.count == 1 and point.minimum == point.maximum:
        return ["", "", ""]
    return [str(point.count), _number(point.minimum), _number(point.maximum)]
