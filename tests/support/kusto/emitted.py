"""What berth emits, by name: the metrics that its code records, the events that it logs, and its spans as declared."""

import ast
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from shared.domain.dormancy import Outcome
from shared.domain.sweeps import Action
from shared.telemetry import metrics
from shared.telemetry.recorder import Metric
from shared.telemetry.spans import CONTEXT, TYPES

ROOT = Path(__file__).parents[3]
# A span that failed has the attribute `error`, whatever its type.
SPANS: Mapping[str, frozenset[str]] = {
    each.name: frozenset({*each.attributes, *CONTEXT, "error"}) for each in TYPES if each.name
}
OTHER_SPANS = frozenset(key for each in TYPES if not each.name for key in each.attributes) | frozenset(CONTEXT)
"""The attributes of spans whose names are many: activities, and calls of other services."""

COUNTS = frozenset(str(each) for each in (*Outcome, *Action))
"""Fields of the end of a sweep whose names the code computes."""

_LOGGING = ("log_event", "log_span_event", "log_exception")
_ANY = r"[\w-]+"  # in place of what is only known while the code runs


@dataclass(frozen=True, slots=True)
class _Event:
    """One call that logs: the texts that it may log, and the fields that it gives."""

    text: re.Pattern[str]
    fields: frozenset[str]


def fields_of_event(event: str) -> frozenset[str]:
    """Return the fields that an event may have; none if nothing logs it."""
    found = [each.fields for each in _events() if each.text.fullmatch(event)]
    return _context_fields().union(*found, CONTEXT) if found else frozenset()


def recorded_metrics() -> Iterator[tuple[Metric, frozenset[str]]]:
    """Yield the metric and the dimensions of each call that records one.

    A function that records the metric that it is given stands for the calls of itself.
    """
    for tree in _trees():
        recording = {"record": frozenset[str]()}
        for function in ast.walk(tree):
            if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef):
                given = {each.arg for each in function.args.args}
                for call in _calls(function, "record"):
                    if call.args and isinstance(call.args[0], ast.Name) and call.args[0].id in given:
                        recording[function.name] = _keywords(call)
        for name, inner in recording.items():
            for call in _calls(tree, name):
                metric = _metric(call.args[0]) if call.args else None
                if metric is not None:
                    yield metric, inner | _keywords(call)


def _metric(node: ast.expr) -> Metric | None:
    match node:
        case ast.Attribute(value=ast.Name(id="metrics"), attr=name) | ast.Name(id=name):
            found = getattr(metrics, name, None)
            return found if isinstance(found, Metric) else None
        case _:
            return None


@cache
def _events() -> tuple[_Event, ...]:
    return tuple(
        _Event(re.compile(_text(tree, call.args[1])), _fields(tree, call))
        for tree in _trees()
        for call in _calls(tree, *_LOGGING)
    )


def _text(tree: ast.Module, node: ast.expr) -> str:
    """Return a pattern of the texts that an expression may be."""
    match node:
        case ast.Constant(value=str(text)):
            return re.escape(text)
        case ast.JoinedStr(values=parts):
            return "".join(_text(tree, each) for each in parts)
        case ast.FormattedValue(value=value):
            return _text(tree, value)
        case ast.IfExp(body=one, orelse=other):
            return f"(?:{_text(tree, one)}|{_text(tree, other)})"
        case ast.Name(id=name):
            return f"(?:{'|'.join(_text(tree, each) for each in _values(tree, name)) or _ANY})"
        case ast.Attribute(attr=member) if member.isupper():  # of an enumeration, whose values are their names
            return re.escape(member.lower())
        case _:
            return _ANY


def _values(tree: ast.Module, name: str) -> Iterator[ast.expr]:
    """Yield what a name is set to: by an assignment, or as a parameter by who calls its function."""
    for node in ast.walk(tree):
        match node:
            case ast.Assign(targets=[ast.Name(id=target)], value=value) if target == name:
                yield value
            case ast.FunctionDef(name=function, args=given) | ast.AsyncFunctionDef(name=function, args=given):
                names = [each.arg for each in given.args if each.arg != "self"]
                if name in names:
                    calls = list(_calls(tree, function)) or [
                        each for other in _trees() for each in _calls(other, function)
                    ]
                    yield from (call.args[names.index(name)] for call in calls)
            case _:
                pass


def _fields(tree: ast.Module, call: ast.Call) -> frozenset[str]:
    """Return the fields of a call; of fields that it gives as a mapping, all names that the module has."""
    if all(each.arg for each in call.keywords):
        return _keywords(call)
    found: set[str] = set()
    for node in ast.walk(tree):
        match node:
            case ast.Call():
                found |= _keywords(node)
            case ast.Dict(keys=keys):
                found |= {key.value for key in keys if isinstance(key, ast.Constant) and isinstance(key.value, str)}
            case _:
                pass
    return frozenset(found)


@cache
def _context_fields() -> frozenset[str]:
    names = ("log_context", "add_to_log_context")
    return frozenset(field for tree in _trees() for call in _calls(tree, *names) for field in _keywords(call))


def _keywords(call: ast.Call) -> frozenset[str]:
    return frozenset(each.arg for each in call.keywords if each.arg and each.arg != "level")


def _calls(tree: ast.AST, *names: str) -> Iterator[ast.Call]:
    """Yield the calls of functions, and of methods of `self`, by their names."""
    for node in ast.walk(tree):
        match node:
            case (
                ast.Call(func=ast.Name(id=name)) | ast.Call(func=ast.Attribute(value=ast.Name(id="self"), attr=name))
            ) if name in names:
                yield node
            case _:
                pass


@cache
def _trees() -> tuple[ast.Module, ...]:
    paths = (path for package in ("shared", "functions") for path in sorted((ROOT / package).rglob("*.py")))
    return tuple(ast.parse(path.read_text()) for path in paths)


METRICS: Mapping[str, frozenset[str]] = {metric.name: dimensions for metric, dimensions in recorded_metrics()}
"""The dimensions of each metric that the code records."""
