"""The host is killed before and after what it writes. Every signup still ends in one complete bundle or none."""

import asyncio
import random

import pytest

from tests.fault_proxy import Exchange, FaultProxy
from tests.stacks import Rig, new_slug, signup


def kill_at(berth: Rig, proxy: FaultProxy, number: int, edge: str) -> asyncio.Event:
    """Kill the host before or after a proxy's write of that number."""
    done = asyncio.Event()

    async def hook(exchange: Exchange) -> None:
        if exchange.is_write and exchange.number == number and not done.is_set():
            done.set()
            berth.stack.processes.kill("host")
            raise ConnectionError

    setattr(proxy, edge, hook)
    return done


@pytest.mark.parametrize("edge", ["before", "after"])
@pytest.mark.parametrize("number", [2, 3, 4, 5, 6])  # the choice, the place, the end, the seconds, the freed turn
async def test_killed_at_a_table_write(berth: Rig, number: int, edge: str) -> None:
    killed = kill_at(berth, berth.tables, number, edge)
    operation = await berth.ended(await berth.sign_up())
    await asyncio.wait_for(killed.wait(), 10)
    assert operation["state"] == "succeeded"
    await berth.at_rest()


@pytest.mark.parametrize("edge", ["before", "after"])
@pytest.mark.parametrize("number", [1, 6, 12])
async def test_killed_at_a_kubernetes_write(berth: Rig, number: int, edge: str) -> None:
    killed = kill_at(berth, berth.kubernetes, number, edge)
    operation = await berth.ended(await berth.sign_up())
    assert killed.is_set()
    assert operation["state"] == "succeeded"
    await berth.at_rest()


async def test_killed_between_the_record_and_the_orchestration(berth: Rig) -> None:
    slug = new_slug()
    killed = kill_at(berth, berth.tables, 1, "after")
    with pytest.raises(Exception):  # noqa: B017, PT011 - the answer is lost in whatever way
        await berth.api.call("POST", "tenants", signup(slug))
    assert killed.is_set()
    async with asyncio.timeout(60):
        while True:
            try:
                tenant = await berth.api.call("GET", f"tenants/{slug}")
            except Exception:
                continue
            if tenant["state"] == "active":
                break
            await asyncio.sleep(0.1)
    await berth.at_rest()


async def test_killed_again_and_again_under_load(berth: Rig) -> None:
    dice = random.Random(4)
    operations = [await berth.sign_up(version=dice.choice(["1.0.0", "missing-1"])) for _ in range(12)]
    for _ in range(3):
        await asyncio.sleep(dice.uniform(0.2, 1.5))
        async with asyncio.timeout(30):
            while not await berth.stack.host_ready():
                await asyncio.sleep(0.05)
        berth.stack.processes.kill("host")
    ended = [await berth.ended(operation, seconds=100) for operation in operations]
    assert {each["state"] for each in ended} <= {"succeeded", "failed"}
    await berth.at_rest()
