"""What the worker library of Azure Functions reads of the functions' signatures, in words that say what to do."""

import inspect
import types
import typing
from typing import Any

import pytest

import function_app

DECLARED: dict[str, Any] = {str(each.get_function_name()): each for each in function_app.app.get_functions()}


def not_indexable(call: Any) -> list[str]:
    """Say which annotations of a function the worker library refuses: only plain classes are indexed."""
    hints = typing.get_type_hints(call)
    places = [*inspect.signature(call).parameters, "return"]
    return [
        f"{place}: {hints[place]} is no plain class, so Azure Functions does not load the app. Annotate with a class "
        "that is not parametrised, such as JsonObject in place of dict[str, Any]."
        for place in places
        if place in hints and (not isinstance(hints[place], type) or isinstance(hints[place], types.GenericAlias))
    ]


@pytest.mark.parametrize("name", DECLARED)
def test_the_worker_can_index_the_signature(name: str) -> None:
    assert not_indexable(DECLARED[name].get_user_function()) == []


def test_what_it_cannot_index_is_found() -> None:
    def activity(work: dict[str, Any], count: int, name: str | None) -> list[str]:
        raise NotImplementedError

    assert [each.partition(":")[0] for each in not_indexable(activity)] == ["work", "name", "return"]
