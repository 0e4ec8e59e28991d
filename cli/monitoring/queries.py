"""The KQL files: each begins with the question that it answers, how to read the answer, and its parameters."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

MONITORING = Path(__file__).parents[2] / "infra/monitoring"

_HEAD = re.compile(r"// (?P<question>[^\n]+\?)\n//\n(?P<notes>(?:// [^\n]+\n)+)")
_PARAMETER = re.compile(r"^let (\w+) = (.+); // parameter: (.+)$", re.MULTILINE)


class QueryError(Exception):
    """A file does not have the form of a query, or is asked for what it does not have."""


@dataclass(frozen=True, slots=True)
class Parameter:
    """A value at the head of a query that may be replaced: `let NAME = DEFAULT; // parameter: WHAT IT IS`."""

    name: str
    default: str
    description: str


@dataclass(frozen=True, slots=True)
class Query:
    """One KQL file, which anybody can paste into Logs of the portal as it is.

    Attributes:
        name: Its file's name, without the suffix.
        question: What it answers.
        notes: How to read the answer.
        parameters: What may be replaced, in order.
        text: The whole file.
    """

    name: str
    question: str
    notes: str
    parameters: tuple[Parameter, ...]
    text: str

    def filled(self, values: Mapping[str, str]) -> str:
        """Return the text with other values of parameters. Raises QueryError for one that it does not have."""
        unknown = values.keys() - {each.name for each in self.parameters}
        if unknown:
            raise QueryError(f"{self.name} has no parameter {', '.join(sorted(unknown))}")
        return _PARAMETER.sub(
            lambda found: f"let {found[1]} = {values.get(found[1], found[2])}; // parameter: {found[3]}", self.text
        )


def read_queries(directory: Path = MONITORING / "queries") -> Mapping[str, Query]:
    """Return all queries by name. Raises QueryError for a file that does not begin as one."""
    return {path.stem: _query(path.stem, path.read_text()) for path in sorted(directory.glob("*.kql"))}


def _query(name: str, text: str) -> Query:
    head = _HEAD.match(text)
    if head is None:
        raise QueryError(f"{name}.kql does not begin with `// QUESTION?`, a line `//`, and how to read the answer")
    notes = " ".join(line.removeprefix("// ") for line in head["notes"].splitlines())
    parameters = tuple(Parameter(*found) for found in _PARAMETER.findall(text))
    return Query(name, head["question"], notes, parameters, text)
