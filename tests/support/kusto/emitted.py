"""What berth emits, by name: its metrics and spans as they are declared, and the events as the code logs them."""

import ast
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from shared.domain.dormancy import Outcome
from shared.domain.sweeps import Action
from shared.telemetry.metrics import all_metrics
from shared.telemetry.spans import CONTEXT, TYPES

ROOT = Path(__file__).parents[3]
METRICS: Mapping[str, frozenset[str]] = {each.name: frozenset(each.dimensions) for each in all_metrics()}
# A span that failed has the attribute `error`, whatever its type.
SPANS: Mapping[str, frozenset[str]] = {
    each.name: frozenset({*each.attributes, *CONTEXT, "error"}) for each in TYPES if each.name
}
OTHER_SPANS = frozenset(key for each in TYPES if not each.name for key in each.attributes) | frozenset(CONTEXT)
"""The attributes of spans whose names are many: activities, and calls of other services."""

COUNTS = frozenset(str(each) for each in (*Outcome, *Action))
"""Fields of the end of a sweep whose names the code computes."""


@dataclass(slots=True)
class _Module:
    """What a module that logs says: texts that may be events, patterns of such, and fields."""

    texts: set[str] = field(default_factory=set[str])
    patterns: list[re.Pattern[str]] = field(default_factory=list[re.Pattern[str]])
    fields: set[str] = field(default_factory=set[str])


def fields_of_event(event: str) -> frozenset[str]:
    """Return the fields that an event may have; none if nothing logs it."""
    found: set[str] = set()
    for module in _modules():
        if event in module.texts or any(each.fullmatch(event) for each in module.patterns):
            found |= module.fields
    return frozenset(found | _context_fields() | set(CONTEXT)) if found else frozenset()


@cache
def _modules() -> tuple[_Module, ...]:
    return tuple(_read(tree) for tree in _trees() if any(_logs(node) for node in ast.walk(tree)))


@cache
def _context_fields() -> frozenset[str]:
    calls = (node for tree in _trees() for node in ast.walk(tree) if isinstance(node, ast.Call))
    return frozenset(each.arg for node in calls if _is_call(node, "log_context") for each in node.keywords if each.arg)


def _read(tree: ast.Module) -> _Module:
    module = _Module()
    for node in ast.walk(tree):
        match node:
            case ast.Constant(value=str(text)):
                module.texts.add(text)
            case ast.JoinedStr(values=[ast.Constant(value=str(first)), ast.FormattedValue()]):
                module.patterns.append(re.compile(re.escape(first) + r"[\w-]+"))
            case ast.keyword(arg=str(name)):
                module.fields.add(name)
            case ast.Dict(keys=keys):
                texts = (key.value for key in keys if isinstance(key, ast.Constant))
                module.fields |= {text for text in texts if isinstance(text, str)}
            case _:
                pass
    return module


def _logs(node: ast.AST) -> bool:
    return _is_call(node, "log_event") or _is_call(node, "log_span_event")


def _is_call(node: ast.AST, name: str) -> bool:
    return isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == name


@cache
def _trees() -> tuple[ast.Module, ...]:
    return tuple(_parsed())


def _parsed() -> Iterator[ast.Module]:
    for package in ("shared", "functions"):
        for path in sorted((ROOT / package).rglob("*.py")):
            yield ast.parse(path.read_text())
