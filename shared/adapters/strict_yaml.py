"""YAML as berth reads it: a key that occurs twice in one mapping is an error, and lines can be named in messages."""

from collections.abc import Sequence
from typing import Any

import yaml


class StrictLoader(yaml.CSafeLoader):
    """Refuses a key that occurs twice in one mapping; YAML's own loader silently takes the last."""


def _unique_mapping(loader: yaml.CSafeLoader, node: yaml.MappingNode) -> dict[Any, Any]:
    keys = [key.value for key, _ in node.value]
    for key in keys:
        if keys.count(key) > 1:
            raise yaml.constructor.ConstructorError(None, None, f"the key {key} occurs twice", node.start_mark)
    return loader.construct_mapping(node, deep=True)


StrictLoader.add_constructor("tag:yaml.org,2002:map", _unique_mapping)


def line_of(text: str, location: Sequence[int | str]) -> int:
    """Return the line, counted from 1, where a place in a document is, or what is nearest around it.

    Args:
        text: The document.
        location: The keys and positions that lead to the place.
    """
    node = yaml.compose(text, StrictLoader)
    line = 1
    for part in location:
        if isinstance(node, yaml.MappingNode):
            found = [(key, value) for key, value in node.value if key.value == str(part)]
        elif isinstance(node, yaml.SequenceNode) and isinstance(part, int) and part < len(node.value):
            found = [(node.value[part], node.value[part])]
        else:
            found = []
        if not found:
            break
        key, node = found[0]
        line = key.start_mark.line + 1
    return line
