"""A world behind the functions: its first worker answers requests in the place of the container."""

from typing import Any

from tests.support.world import World


class WorldContainer:
    """A worker of a world in the place of the container."""

    def __init__(self, world: World) -> None:
        self._world = world

    def __getattr__(self, name: str) -> Any:
        return getattr(self._world.worker, name)

    def workflows(self, _: object) -> object:
        """Return the world's task hub, whichever client is given."""
        return self._world.workflows
