"""Telemetry as text: requests, log records and metrics as tables, a trace as a tree."""

from collections.abc import Iterable, Mapping, Sequence

from rich.text import Text
from rich.tree import Tree

from cli.grid import Grid
from cli.telemetry.items import LOGS, Item, Values
from shared.telemetry.recorder import Instrument

# What a line of a tree has of an item, in this order, unless its name or the line above it has it, too.
SHOWN = (
    *("tenant", "operation", "kind", "step", "outcome", "failure", "verdict", "cluster", "dependency", "verb"),
    *("resource", "table", "writes", "retries", "attempt", "error", "faas.instance", "durabletask.task.status"),
)

TRACE_CHARACTERS = 8  # of a trace's id: enough for `--trace`
# What a log record has besides its event's fields, and the ids that are long and come last.
HIDDEN = ("on_span", "logger_name")
LAST = ("operation", "instance")


def requests(chosen: Sequence[Item], found: Sequence[Item]) -> Grid:
    """Return requests, and what else the host has called the app for; the tenant is from all that was found."""
    tenants = {each.trace: tenant for each in found if (tenant := each.properties.get("tenant"))}
    rows = [
        [_clock(each), each.name, _result(each), _duration(each.seconds), tenants.get(each.trace, ""), each.trace]
        for each in chosen
    ]
    return Grid(["time", "request", "result", "duration", "tenant", "trace"], rows, ["duration"])


def logs(chosen: Sequence[Item]) -> Grid:
    """Return log records and exceptions; of the trace what `--trace` needs."""
    rows = [
        [_clock(each), each.result, _first_line(each.name), each.trace[:TRACE_CHARACTERS], _fields(each.properties)]
        for each in chosen
    ]
    return Grid(["time", "level", "event", "trace", "fields"], rows)


def metrics(found: Iterable[Values]) -> Grid:
    """Return the sum of each counter, the last value of each gauge, and the distribution of each histogram."""
    numbers = ["sum", "last", "count", "mean", "least", "most"]
    rows = [[each.metric.name, each.dimensions, each.metric.unit.strip("{}"), *_numbers(each)] for each in found]
    return Grid(["metric", "dimensions", "unit", *numbers], rows, numbers)


def traces(chosen: Sequence[Item]) -> list[Tree]:
    """Return traces, each as a tree."""
    by_trace: dict[str, list[Item]] = {}
    for each in chosen:
        by_trace.setdefault(each.trace, []).append(each)
    return [_tree(trace, of_it) for trace, of_it in by_trace.items()]


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
        return f"{item.result}: {_first_line(item.name)}"
    return f"{item.name}  {_duration(item.seconds)}{f'  {_result(item)}' if _result(item) else ''}"


def _result(item: Item) -> str:
    return " ".join(filter(None, (item.result, "failed" if item.failed else "")))


def _first_line(text: str) -> str:
    return text.splitlines()[0] if text else ""


def _fields(properties: Mapping[str, str]) -> str:
    """Return the fields of an event: its tenant and its own ones first, because what comes last is cut."""
    names = [name for name in properties if name not in ("tenant", *LAST, *HIDDEN) and not name.startswith("code.")]
    known = ((name, " ".join(properties.get(name, "").split())) for name in ("tenant", *names, *LAST))
    return " ".join(f"{name}={value}" for name, value in known if value)


def _clock(item: Item) -> str:
    return f"{item.time:%H:%M:%S}.{item.time.microsecond // 1000:03}"


def _duration(seconds: float) -> str:
    return f"{seconds:.2f} s" if seconds >= 1 else f"{seconds * 1000:.0f} ms"


def _numbers(values: Values) -> list[str]:
    """Return sum, last value, count, mean, least and most; only those that mean something for the instrument."""
    match values.metric.instrument:
        case Instrument.COUNTER:
            return [_number(values.sum), "", "", "", "", ""]
        case Instrument.GAUGE:
            return ["", _number(values.last), "", "", "", ""]
        case Instrument.HISTOGRAM:
            mean = values.sum / values.count
            return ["", "", str(values.count), *map(_number, (mean, values.least, values.most))]


def _number(value: float) -> str:
    return f"{value:.0f}" if value.is_integer() else f"{value:.3f}"
