"""A random history on the running stack: some callers, a sweep now and then, and parts that are killed.

Nobody who was used is put to sleep by a sweep, and who was active keeps its volume until it is deleted. All else is
checked after it, as after each fault.
"""

import asyncio
import json
import random
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from cli.api import Json, ProblemError
from local.kubernetes.control_plane import kubectl
from shared.errors import Conflict, NotFound
from tests.faults import sweep
from tests.faults.requests import send_until_accepted
from tests.support.builders import new_slug, signup_body
from tests.support.fault_proxy import Exchange
from tests.support.stack import ProxiedStack

SECONDS = 20.0
CALLERS = 3
PAUSE_SECONDS = 0.5  # of a caller, at most
REFUSED = (404, 409)
LOOK_SECONDS = 6.0  # between the last look of a sweep and what it writes
EVENTS = {
    "sign up": 6,
    "use": 3,
    "sleep": 5,
    "wake": 5,
    "delete": 1,
    "cancel": 2,
    "retry": 2,
    "let weeks pass": 5,
    "sweep": 3,
    "kill the host": 1,
    "kill the task hub": 1,
    "drop requests": 1,
}
"""What happens, and how often."""


@dataclass
class History:
    """What was done.

    Attributes:
        used: When each tenant was last used, once that was recorded.
        volumes: The volume of each tenant that was active.
        deleted: The tenants whose deletion was asked for.
        told: What happened, in order.
    """

    stack: ProxiedStack
    source: random.Random
    slugs: list[str] = field(default_factory=lambda: [str(new_slug()) for _ in range(4)])
    used: dict[str, datetime] = field(default_factory=dict[str, datetime])
    volumes: dict[str, str] = field(default_factory=dict[str, str])
    deleted: set[str] = field(default_factory=set[str])
    told: list[str] = field(default_factory=list[str])

    async def run(self) -> None:
        """Let it happen, and check what must hold; raises AssertionError."""
        end = asyncio.get_running_loop().time() + SECONDS
        await asyncio.gather(*(self._caller(end) for _ in range(CALLERS)))
        self.stack.kubernetes.pass_everything()
        self.stack.tables.pass_everything()
        await self.stack.at_rest(seconds=120)
        wrong = await self._false_sleeps()
        for slug in self.volumes.keys() - self.deleted:
            found = await self._volume((await self._ask("GET", f"tenants/{slug}"))["instance"])
            if found != self.volumes[slug]:
                wrong.append(f"{slug} had the volume {self.volumes[slug]}, and has {found or 'none'}")
        assert not wrong, f"{wrong} after {self.told}"

    async def _caller(self, end: float) -> None:
        while asyncio.get_running_loop().time() < end:
            [event], slug = self.source.choices(list(EVENTS), list(EVENTS.values())), self.source.choice(self.slugs)
            self.told.append(f"{event} {slug}")
            try:
                await self._happen(event, slug)
            except ProblemError as error:
                if error.status not in REFUSED:
                    raise
            except (Conflict, NotFound):  # by the test's own writes
                pass
            await asyncio.sleep(self.source.uniform(0, PAUSE_SECONDS))

    async def _happen(self, event: str, slug: str) -> None:
        path = f"tenants/{slug}"
        match event:
            case "sign up":
                await self._ask("POST", "tenants", signup_body(slug, version=self.source.choice(["1.0.0", "slow-1"])))
            case "use":
                tenant = await self._ask("GET", path)
                if tenant["state"] == "active":
                    self.volumes.setdefault(slug, await self._volume(tenant["instance"]))
                    await self._ask("POST", f"{path}/activity", {})
                    self.used[slug] = datetime.now(UTC)
            case "sleep" | "wake":
                await self._ask("POST", f"{path}/{event}")
            case "retry":
                await self._ask("POST", f"{path}/retry", {"version": "1.0.0"})
            case "delete":
                self.deleted.add(slug)
                await self._ask("DELETE", path)
            case "cancel":
                operation = (await self._ask("GET", path))["operation"]
                await self._ask("POST", f"operations/{operation}/cancel")
            case "let weeks pass":
                await sweep.let_weeks_pass(self.stack, slug)
            case "sweep":
                await send_until_accepted(self.stack, "POST", "sweeps", {"dry_run": False}, operator=True)
            case "kill the host" | "kill the task hub":
                self.stack.stack.processes.kill(event.removeprefix("kill the ").replace(" ", "-"))
            case _:
                await self._drop_requests()

    async def _ask(self, method: str, path: str, body: Json | None = None) -> Json:
        return await send_until_accepted(self.stack, method, path, body)

    async def _drop_requests(self) -> None:
        """Break off a third of all requests for a second, before they are made or after."""
        proxy = self.source.choice([self.stack.kubernetes, self.stack.tables])

        async def drop(_: Exchange) -> None:
            if self.source.random() < 1 / 3:
                raise ConnectionError

        proxy.before = proxy.after = drop
        await asyncio.sleep(1)
        proxy.pass_everything()

    async def _false_sleeps(self) -> list[str]:
        """Return who was put to sleep by a sweep after being used."""
        found: list[str] = []
        for slug, used in self.used.items():
            entries = (await self._ask("GET", f"tenants/{slug}/audit"))["items"]
            since = used + timedelta(seconds=LOOK_SECONDS)
            begun = [each for each in entries if each["after"] == "hibernating" and each["actor"].startswith("sweep-")]
            late = [each["at"] for each in begun if datetime.fromisoformat(each["at"]) > since]
            found += [f"{slug} was used at {used}, and a sweep put it to sleep at {at}" for at in late]
        return found

    async def _volume(self, instance: str) -> str:
        """Return the volume of an instance, or nothing."""
        command = ("get", "pvc", "-A", "-l", f"berth.dev/instance={instance}", "-o", "json")
        claims = json.loads(await kubectl(self.stack.stack.control_plane, *command))["items"]
        return "".join(each["spec"].get("volumeName", "") for each in claims)
