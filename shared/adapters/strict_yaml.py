"""YAML as berth reads it: a key that occurs twice in one mapping is an error."""

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
