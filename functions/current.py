"""This worker's container, built when a trigger first needs it.

Indexing the app must neither reach Azure nor fail, and it must be quick: a worker that starts imports all triggers, but
the adapters and their libraries only with the first call.
"""

import functools
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from functions.container import Container


@functools.cache
def container() -> "Container":
    """Return this worker's container; raises SettingsError or PlansError for what is set wrongly."""
    from functions.container import Container
    from shared.settings import load_settings

    return Container(load_settings())
