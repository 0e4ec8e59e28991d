"""Gateways with a past: all that a Prometheus would have scraped of them, in one page with the times of the scrapes."""

from collections.abc import AsyncGenerator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from aiohttp import web

from tests.support.prometheus import JOB

FIRST, EVERY = 0.25, 0.5  # minutes


@dataclass(frozen=True, slots=True, kw_only=True)
class GatewayHistory:
    """What happened at one gateway, in minutes from the beginning.

    Attributes:
        name: Its pod's.
        requests: When each namespace was requested.
        began: When it was started first, and then again.
        ended: When it was removed.
        unscraped: Between when its scrapes failed.
    """

    name: str = "a"
    cluster: str = "one"
    requests: Mapping[str, Sequence[float]] = field(default_factory=dict[str, Sequence[float]])
    began: Sequence[float] = (-60,)
    ended: float = 40
    unscraped: tuple[float, float] = (0, 0)

    def samples(self, origin: datetime) -> Iterator[str]:
        """Yield the lines of all its scrapes, of which the first is at `origin` or at its start."""
        labels = f'job="{JOB}",instance="{self.name}",cluster="{self.cluster}"'
        scrapes = [FIRST + EVERY * number for number in range(int(40 / EVERY))]
        for minute in [each for each in scrapes if self.began[0] <= each < self.ended]:
            at = int((origin + timedelta(minutes=minute)).timestamp() * 1000)
            works = not self.unscraped[0] <= minute < self.unscraped[1]
            yield f"up{{{labels}}} {int(works)} {at}"
            if not works:
                continue
            began = max(each for each in self.began if each <= minute)
            yield f"envoy_server_uptime{{{labels}}} {int((minute - began) * 60)} {at}"
            for namespace, requests in self.requests.items():
                count = sum(began <= each <= minute for each in requests)
                if count:
                    yield f'istio_requests_total{{{labels},destination_service_namespace="{namespace}"}} {count} {at}'


@asynccontextmanager
async def served(gateways: Sequence[GatewayHistory], origin: datetime, port: int) -> AsyncGenerator[str]:
    """Serve the histories and yield the address."""
    page = "".join(f"{line}\n" for each in gateways for line in each.samples(origin))

    async def metrics(_: web.Request) -> web.Response:
        return web.Response(text=page, content_type="text/plain", charset="utf-8")

    app = web.Application()
    app.router.add_get("/metrics", metrics)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    try:
        yield f"http://127.0.0.1:{port}/metrics"
    finally:
        await runner.cleanup()
