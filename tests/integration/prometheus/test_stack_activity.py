"""The whole stack with a real Prometheus: a visit through the gateway is seen in the tenant's document."""

from collections.abc import Mapping
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta

import httpx
import pytest

from cli.api import Api, Json
from local.stack import Stack
from tests.support.builders import signup_body
from tests.support.polling import until
from tests.support.prometheus import prometheus


@pytest.mark.timeout(240)  # it starts a stack of its own
async def test_a_visit_is_seen_in_the_tenants_document() -> None:
    urls: list[str] = []
    async with AsyncExitStack() as exits:

        async def start_prometheus(stack: Stack) -> Mapping[str, str]:
            gateways = {stack.control_plane.gateway.metrics_url: "local"}
            server = await exits.enter_async_context(prometheus(stack.processes, stack.ports, gateways))
            urls.append(server.url)
            return {"BERTH_ACTIVITY_PROMETHEUS_URL": server.url}

        stack = await exits.enter_async_context(Stack(clock=True, before_host=start_prometheus))
        api = await exits.enter_async_context(Api(stack.api_url, stack.function_key))
        http = await exits.enter_async_context(httpx.AsyncClient(trust_env=False))

        async def tenant(slug: str) -> Json:
            return await api.call("GET", f"tenants/{slug}")

        async def signal(slug: str) -> Json:
            [found] = (await tenant(slug))["activity"]
            assert (found["source"], found["required"]) == ("prometheus", True)
            return found

        for slug in ("visited", "quiet"):
            await api.call("POST", "tenants", signup_body(slug))

        async def are_active() -> bool:
            return all([(await tenant(slug))["state"] == "active" for slug in ("visited", "quiet")])

        await until(are_active, seconds=60)
        assert (await signal("visited"))["watched_since"] is None
        before = datetime.now(UTC)
        page = await stack.control_plane.gateway.fetch((await tenant("visited"))["url"])
        assert page.status_code == 200

        async def is_scraped() -> bool:
            query = {"query": 'istio_requests_total{response_code="200"}'}
            return bool((await http.get(f"{urls[0]}/api/v1/query", params=query)).json()["data"]["result"])

        await until(is_scraped)
        stack.clock.move(timedelta(minutes=7))  # else the step of 5 minutes with the visit would have to end first

        async def is_seen() -> bool:
            headers = {"x-functions-key": stack.master_key}
            response = await http.post(f"{stack.api_url}/admin/functions/poll_activity", json={}, headers=headers)
            assert response.status_code == 202
            return (await signal("visited"))["last_activity_at"] is not None

        await until(is_seen, seconds=30)
        visited, quiet = await signal("visited"), await signal("quiet")
        assert timedelta(0) <= datetime.fromisoformat(visited["last_activity_at"]) - before < timedelta(minutes=10)
        assert visited["watched_until"] == quiet["watched_until"] is not None
        assert quiet["last_activity_at"] is None
        assert "(prometheus)" in (await tenant("visited"))["dormancy"]["reason"]
