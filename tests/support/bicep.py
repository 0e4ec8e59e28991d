"""Reads Bicep files: what each declares, without evaluating it. Nothing here can compile them."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import tree_sitter_bicep
from tree_sitter import Language, Node, Parser

INFRA = Path(__file__).parents[2] / "infra"
_PARSER = Parser(Language(tree_sitter_bicep.language()))
_KINDS = {
    "parameter_declaration": "param",
    "variable_declaration": "var",
    "resource_declaration": "resource",
    "module_declaration": "module",
    "output_declaration": "output",
}


def text(node: Node) -> str:
    """Return what stands in the file."""
    assert node.text is not None
    return node.text.decode()


def nodes(node: Node) -> Iterator[Node]:
    """Yield a node and all in it."""
    yield node
    for child in node.children:
        yield from nodes(child)


def literal(node: Node) -> str | None:
    """Return what a string without expressions says; None for any other node."""
    if node.type != "string" or any(each.type == "interpolation" for each in node.children):
        return None
    return text(node)[1:-1].replace("\\'", "'")


def properties(node: Node) -> Mapping[str, Node]:
    """Return the values of an object by their names, also those of the object that a loop or a condition makes."""
    found = next((each for each in nodes(node) if each.type == "object"), None)
    pairs = [each for each in found.children if each.type == "object_property"] if found else []
    return {text(each.named_children[0]).strip("'"): each.named_children[-1] for each in pairs}


@dataclass(frozen=True)
class Declaration:
    """A parameter, a variable, a resource, a module or an output."""

    kind: str
    name: str
    node: Node
    decorators: Mapping[str, str]

    @property
    def type(self) -> str:
        """The type of a resource, without its version, or the path of a module."""
        named = next(each for each in self.node.named_children if each.type == "string")
        return (literal(named) or "").partition("@")[0]

    @property
    def is_existing(self) -> bool:
        """Whether it is a resource that is only referred to."""
        return any(text(each) == "existing" for each in self.node.children)

    @property
    def properties(self) -> Mapping[str, Node]:
        """The properties of its object."""
        return properties(self.node)

    @property
    def value(self) -> Node:
        """What a variable or an output is."""
        return self.node.named_children[-1]


@dataclass(frozen=True)
class BicepFile:
    """A file."""

    path: Path

    @property
    def name(self) -> str:
        """Its path below infra."""
        return str(self.path.relative_to(INFRA))

    @cached_property
    def root(self) -> Node:
        """All of it."""
        return _PARSER.parse(self.path.read_bytes()).root_node

    @cached_property
    def declarations(self) -> list[Declaration]:
        """What it declares, in order, nested resources too."""
        found: list[Declaration] = []
        for node in nodes(self.root):
            if node.type in _KINDS:
                name = next(text(each) for each in node.named_children if each.type == "identifier")
                found.append(Declaration(_KINDS[node.type], name, node, _decorators(node)))
        return found

    def of(self, kind: str) -> list[Declaration]:
        """Return the declarations of a kind."""
        return [each for each in self.declarations if each.kind == kind]

    def one(self, kind: str, name: str) -> Declaration:
        """Return one declaration."""
        [found] = [each for each in self.of(kind) if each.name == name]
        return found


def bicep_files() -> list[BicepFile]:
    """Return all files of infra."""
    return [BicepFile(path) for path in sorted(INFRA.rglob("*.bicep"))]


def _decorators(node: Node) -> dict[str, str]:
    before = node.prev_named_sibling
    if before is None or before.type != "decorators":
        return {}
    calls = (re.fullmatch(r"@(?:sys\.)?(\w+)\((.*)\)", text(each), re.DOTALL) for each in before.named_children)
    return {call[1]: call[2] for call in calls if call is not None}
