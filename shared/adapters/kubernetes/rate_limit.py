"""The rate limit of what waiting for one tenant may cost an API server, whatever that responds."""

import asyncio

SECONDS = 1.0  # between two requests about one namespace, on average
BURST = 4  # that may come at once: what one poll costs, and the confirmation that the tenant is ready


class RateLimit:
    """Delays the requests about each namespace (the generic cell rate algorithm: one time for each)."""

    def __init__(self) -> None:
        self._due: dict[str, float] = {}  # when the next one would come if all came evenly

    def is_free(self, namespace: str) -> bool:
        """Whether the last requests about a namespace are so long ago that a whole burst of them may come."""
        return self._due.get(namespace, 0.0) <= asyncio.get_running_loop().time()

    async def wait(self, namespace: str) -> None:
        """Return when the next request about a namespace may be sent."""
        now = asyncio.get_running_loop().time()
        self._due = {name: due for name, due in self._due.items() if due > now}
        due = max(now, self._due.get(namespace, now))
        self._due[namespace] = due + SECONDS
        await asyncio.sleep(due - (BURST - 1) * SECONDS - now)
