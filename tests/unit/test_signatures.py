"""What the worker library of Azure Functions reads of the functions' signatures, in words that say what to do."""

import inspect
import types
import typing
from typing import Any

import pytest

from tests.support.registered import registered_functions

DECLARED = registered_functions()


def not_indexable(call: Any) -> list[str]:
    """Say which annotations of a function the worker library refuses: only plain classes are indexed."""
    hints = typing.get_type_hints(call)
    names = [*inspect.signature(call).parameters, "return"]
    return [
        f"{name}: {hints[name]} is no plain class, so Azure Functions does not load the app. Annotate with a class "
        "that is not parametrised, such as JsonObject in place of dict[str, Any]."
        for name in names
        if name in hints and (not isinstance(hints[name], type) or isinstance(hints[name], types.GenericAlias))
    ]


@pytest.mark.parametrize("name", DECLARED)
def test_the_worker_can_index_the_signature(name: str) -> None:
    assert not_indexable(DECLARED[name].get_user_function()) == []


def test_what_it_cannot_index_is_found() -> None:
    def activity(work: dict[str, Any], count: int, name: str | None) -> list[str]:
        raise NotImplementedError

    assert [each.partition(":")[0] for each in not_indexable(activity)] == ["work", "name", "return"]
