"""The rate limit of what waiting for one tenant may cost an API server, whatever that responds."""

import asyncio

SECONDS = 1.0  # between two requests about one namespace, on average
BURST = 4  # that may come at once: what one poll costs, and the confirmation that the tenant is ready


class RateLimit:
    """Delays the requests about each namespace (the generic cell rate algorithm: one time for each)."""

    def __init__(self) -> None:
        self._due: dict[str, float] = {}  # when the next one would come if all came evenly

    def has_room(self, namespace: str, requests: int) -> bool:
        """Whether so many requests about a namespace could be sent at once now."""
        now = asyncio.get_running_loop().time()
        return self._due.get(namespace, now) <= now + (BURST - requests) * SECONDS

    async def wait(self, namespace: str) -> None:
        """Return when the next request about a namespace may be sent."""
        now = asyncio.get_running_loop().time()
        self._due = {name: due for name, due in self._due.items() if due > now}
        due = max(now, self._due.get(namespace, now))
        self._due[namespace] = due + SECONDS
        await asyncio.sleep(due - (BURST - 1) * SECONDS - now)
