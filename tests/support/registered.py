"""The functions that the app registers, as the worker library sees them."""

import functools
from typing import Any

import function_app


@functools.cache  # the app adds the durable library's own functions each time that it is asked, and then fails
def registered_functions() -> dict[str, Any]:
    """Return the declared functions by their names."""
    return {str(each.get_function_name()): each for each in function_app.app.get_functions()}
