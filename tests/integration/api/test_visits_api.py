"""A visitor opens the address of a tenant that sleeps, on the whole stack and without a key."""

import asyncio

from cli.api import Json
from tests.support.http_calls import send
from tests.support.polling import until
from tests.support.stack import ProxiedStack


async def visit(berth: ProxiedStack, host: str, method: str = "POST") -> Json:
    response = await send(berth, method, f"visits/{host}", key="none")
    assert response.status_code == 200, response.text
    assert response.headers["Cache-Control"] == "no-store"
    assert int(response.headers["Retry-After"]) == response.json()["retry_after"]
    return response.json()


async def test_a_visit_opens_a_tenant_that_sleeps(berth: ProxiedStack) -> None:
    signup = await berth.sign_up()
    assert (await berth.ended(signup))["state"] == "succeeded"
    path = f"tenants/{signup['tenant']}"
    host = (await berth.api.call("GET", path))["url"].removeprefix("https://")
    assert (await berth.ended(await berth.api.call("POST", f"{path}/sleep")))["state"] == "succeeded"

    assert (await visit(berth, host, "GET"))["state"] == "asleep"
    assert (await berth.api.call("GET", path))["state"] == "hibernated"
    answers = await asyncio.gather(*(visit(berth, host) for _ in range(30)))
    assert {each["state"] for each in answers} == {"opening"}

    async def is_open() -> bool:
        return (await visit(berth, host.upper(), "GET"))["state"] == "open"

    await until(is_open, seconds=30)
    trail = await berth.api.all(f"{path}/audit")
    assert [each["actor"] for each in trail if each["action"] == "wake"] == ["visitor"] * 2
    await berth.at_rest()


async def test_a_stranger_is_not_found_and_writes_nothing(berth: ProxiedStack) -> None:
    operation = await berth.sign_up()
    assert (await berth.ended(operation))["state"] == "succeeded"
    host = (await berth.api.call("GET", f"tenants/{operation['tenant']}"))["url"].removeprefix("https://")
    await berth.at_rest()
    berth.reset()
    details: set[str] = set()
    for name in (f"x{host}", f"{operation['tenant']}.example.com", f"{host}:443", "admin", f"x.{host}"):
        response = await send(berth, "POST", f"visits/{name}", key="none")
        assert response.status_code == 404
        details.add(response.json()["detail"])
    assert details == {"there is no tenant at this address"}
    assert (berth.tables.writes, berth.kubernetes.writes) == (0, 0)
