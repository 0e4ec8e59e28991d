"""The clock of a whole stack is moved: it is the same for all its parts, and a jump harms nothing."""

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import datetime, timedelta

import pytest
from azure.data.tables.aio import TableServiceClient

from cli.api import Api, Json
from cli.invariants import violations
from local.kubernetes.control_plane import OWNER, Options, kubectl
from local.stack import Stack
from shared.adapters.kubernetes.ownership import INSTANCE
from shared.adapters.kubernetes.ownership import OWNER as OWNER_LABEL
from shared.domain.instances import namespace_name, new_instance_id
from tests.support.builders import new_slug, signup_body
from tests.support.polling import until

WEEK = timedelta(days=8)
SLOW_SECONDS = 6.0


@dataclass
class Moved:
    stack: Stack
    api: Api
    operators: Api

    async def sign_up(self, version: str = "1.0.0") -> Json:
        return await self.api.call("POST", "tenants", signup_body(new_slug(), version=version))

    async def ended(self, operation: Json) -> Json:
        async with asyncio.timeout(60):
            async for each in self.api.follow(operation):
                operation = each
        return operation

    async def logged(self, text: str, count: int = 1) -> None:
        async def is_logged() -> bool:
            return self.log.count(text) >= count

        await until(is_logged, seconds=60)

    @property
    def log(self) -> str:
        return self.stack.processes.log("host").read_text()

    async def reconciled(self) -> None:
        """Move the clock by a week and an hour, and wait for the reconciliation of that."""
        before = self.log.count(" reconciled ")
        self.stack.clock.move(WEEK + timedelta(hours=1))
        await self.logged(" reconciled ", before + 1)


@pytest.fixture(scope="module")
async def moved() -> AsyncIterator[Moved]:
    async with (
        Stack(clock=True, telemetry=True, options=Options(ready_seconds=0.3, slow_seconds=SLOW_SECONDS)) as stack,
        Api(stack.api_url, stack.function_key) as api,
        Api(stack.api_url, stack.master_key) as operators,
    ):
        yield Moved(stack, api, operators)


async def test_app_and_tables_have_the_same_time(moved: Moved) -> None:
    moved.stack.clock.move(WEEK)
    operation = await moved.ended(await moved.sign_up())
    now = moved.stack.clock.now()
    async with TableServiceClient.from_connection_string(moved.stack.tables_connection) as tables:
        rows = [row async for row in tables.get_table_client("latency").list_entities()]
    written_at = max(each for row in rows if (each := row.metadata["timestamp"]) is not None)
    for moment in (written_at, *(datetime.fromisoformat(operation[name]) for name in ("created_at", "finished_at"))):
        assert now - timedelta(minutes=1) < moment <= now


async def test_the_operations_trace_is_exported_at_the_moved_time(moved: Moved) -> None:
    moved.stack.clock.move(WEEK)
    operation = await moved.ended(await moved.sign_up())
    instance = "durabletask.task.instance_id"

    async def runs() -> list[Json]:
        """The envelopes of the operation's orchestration and of its activities as they ran."""
        sent = await moved.stack.telemetry.envelopes(type="RequestData")
        return [each for each in sent if each["data"]["baseData"]["properties"].get(instance) == operation["id"]]

    async def ended() -> bool:
        return any(each["data"]["baseData"]["name"].startswith("orchestration:") for each in await runs())

    await until(ended)
    found = await runs()
    [trace] = {each["tags"]["ai.operation.id"] for each in found}
    sent = await moved.stack.telemetry.envelopes(type="RequestData", trace=trace)
    assert sent[0]["data"]["baseData"]["name"] == "POST api/tenants"
    created = datetime.fromisoformat(operation["created_at"])
    for each in found:
        assert abs(datetime.fromisoformat(each["time"]) - created) < timedelta(minutes=1)


async def test_an_operation_goes_on_over_a_jump(moved: Moved) -> None:
    """Recovery restarts what has written no heartbeat since a jump. It may come too late for one, but not for all."""
    before, begun = moved.log.count("orchestration stuck"), list[Json]()

    def is_stuck() -> bool:
        return moved.log.count("orchestration stuck") > before

    while not is_stuck():
        assert len(begun) < 10
        slow, quick = await moved.sign_up("slow-1"), await moved.sign_up()
        begun += [slow, quick]

        async def starts(path: str = f"operations/{slow['id']}") -> bool:
            operation = await moved.api.call("GET", path)
            return any(each["name"] == "start" and each["started_at"] is not None for each in operation["steps"])

        async def is_stuck_or_ended(path: str = f"operations/{slow['id']}") -> bool:
            return is_stuck() or (await moved.api.call("GET", path))["finished_at"] is not None

        await until(starts)
        moved.stack.clock.move((moved.stack.clock.now() + WEEK).replace(second=59))  # recovery runs every half minute
        await until(is_stuck_or_ended, seconds=60)
    assert {(await moved.ended(each))["state"] for each in begun} == {"succeeded"}
    assert await violations(moved.stack, moved.operators) == []


async def test_what_was_made_just_now_is_no_orphan(moved: Moved) -> None:
    awake, asleep = await moved.ended(await moved.sign_up()), await moved.ended(await moved.sign_up())
    await moved.ended(await moved.api.call("POST", f"tenants/{asleep['tenant']}/sleep"))
    instance = new_instance_id()
    labels = {OWNER_LABEL: OWNER, INSTANCE: instance, "app.kubernetes.io/managed-by": "berth"}
    metadata = {"name": namespace_name(instance), "labels": labels}
    namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": metadata}
    await kubectl(moved.stack.control_plane, "create", "-f", "-", stdin=json.dumps(namespace))
    for _ in range(3):
        await moved.reconciled()
    assert await moved.operators.all("reconciliations") == []
    await kubectl(moved.stack.control_plane, "delete", "namespace", namespace_name(instance))
    assert await violations(moved.stack, moved.operators) == []
    states = [(await moved.api.call("GET", f"tenants/{each['tenant']}"))["state"] for each in (awake, asleep)]
    assert states == ["active", "hibernated"]


async def test_a_killed_host_comes_back_at_the_moved_time(moved: Moved) -> None:
    moved.stack.processes.kill("host")
    await until(moved.stack.host_ready)
    operation = await moved.ended(await moved.sign_up())
    created_at = datetime.fromisoformat(operation["created_at"])
    assert abs(moved.stack.clock.now() - created_at) < timedelta(minutes=1)
    assert moved.stack.clock.ahead > WEEK
