"""Placement on two real clusters within their capacity, and the queue of signups."""

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from typing import Any

import pytest

from cli.api import Api, Json, ProblemError
from local.gateway.process import NAME, NAMESPACE
from local.kubernetes.control_plane import Options, kubectl
from local.stack import ROOT, Stack
from tests.support.builders import new_slug, signup_body
from tests.support.described_api import DescribedApi
from tests.support.polling import until

SETTINGS = {
    "BERTH_PROVISIONING_MAX_CONCURRENT": "2",
    "BERTH_PROVISIONING_MAX_QUEUED": "4",
    "BERTH_PROVISIONING_RETRY_AFTER": "1",
    "BERTH_PROVISIONING_PROGRESS_INTERVAL": "1",
    "BERTH_KUBERNETES_TOTAL_TIMEOUT": "6",
    "BERTH_RECOVERY_RESTART_AFTER": "2",
    "BERTH_RECOVERY_SCHEDULE": "*/2 * * * * *",
}


@pytest.fixture(scope="module")
async def stack() -> AsyncIterator[Stack]:
    async with Stack(
        SETTINGS, control_planes=("one", "two"), options=Options(ready_seconds=0.1, slow_seconds=1)
    ) as held:
        yield held


@pytest.fixture
async def api(stack: Stack) -> AsyncIterator[Api]:
    async with DescribedApi(stack.api_url, stack.master_key) as held:
        for name in ("one", "two"):
            await register(held, stack, name)
        yield held


async def register(api: Api, stack: Stack, name: str, **fields: object) -> Json:
    usual = stack.registration(name if name in stack.control_planes else "one") | {"capacity": 100, "state": "open"}
    return await api.call("PUT", f"clusters/{name}", usual | fields)


async def ended(api: Api, operation: Json) -> Json:
    async with asyncio.timeout(60):
        async for each in api.follow(operation, every=0.1):
            operation = each
    return operation


async def provision(api: Api, **fields: str) -> Json:
    return await ended(api, await api.call("POST", "tenants", signup_body(new_slug(), **fields)))


async def refused(api: Api, **fields: str) -> str:
    """Sign up where no cluster can take the tenant, and return why."""
    with pytest.raises(ProblemError) as rejected:
        await api.call("POST", "tenants", signup_body(fields.pop("slug", new_slug()), **fields))
    assert (rejected.value.status, rejected.value.problem["type"]) == (409, "/api/problems/no-room")
    return rejected.value.problem["detail"].partition(". ")[0]


async def test_tenants_are_spread_and_run_on_the_reported_cluster(stack: Stack, api: Api) -> None:
    placed: dict[str, set[str]] = {"one": set(), "two": set()}
    for _ in range(4):
        operation = await provision(api)
        assert operation["state"] == "succeeded"
        tenant = await api.call("GET", f"tenants/{operation['tenant']}")
        placed[tenant["cluster"]].add(f"namespace/tenant-{tenant['instance']}")
        page = await stack.control_planes[tenant["cluster"]].gateway.fetch(tenant["url"])
        assert (page.status_code, f"tenant-{tenant['instance']}" in page.text) == (200, True)
    for name, namespaces in placed.items():
        assert len(namespaces) == 2
        assert namespaces <= set((await kubectl(stack.control_planes[name], "get", "ns", "-o", "name")).split())


async def test_cordoned_and_full_clusters_get_no_tenants(stack: Stack, api: Api) -> None:
    await register(api, stack, "one", state="cordoned")
    operation = await provision(api)
    assert (await api.call("GET", f"tenants/{operation['tenant']}"))["cluster"] == "two"
    await register(api, stack, "two", state="cordoned")
    assert await refused(api) == "every cluster of region local is cordoned"
    await register(api, stack, "two", capacity=1)
    slug = new_slug()
    reason = "region local is full: no open cluster has a free weight of 8"
    assert await refused(api, slug=slug, plan="business") == reason
    assert (await api.call("GET", f"slugs/{slug}"))["free"]


async def command(stack: Stack, *arguments: str) -> Any:
    """Run `./berth` as an operator elsewhere would, and return the JSON that it prints."""
    environment = {"BERTH_URL": stack.api_url, "BERTH_KEY": stack.master_key, "PYTHONPATH": str(ROOT)}
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "cli", *arguments, "--json"),
        env=os.environ | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    output, errors = await process.communicate()
    assert process.returncode == 0, errors.decode()
    return json.loads(output)


async def test_operators_cordon_resize_and_register_by_command(stack: Stack, api: Api) -> None:
    assert (await command(stack, "clusters", "cordon", "one"))["state"] == "cordoned"
    for _ in range(2):  # which would be spread over both
        operation = await provision(api)
        assert (await api.call("GET", f"tenants/{operation['tenant']}"))["cluster"] == "two"
    full = await command(stack, "clusters", "resize", "two", "1")
    assert (full["state"], full["capacity"], full["free"]) == ("open", 1, 0)
    assert full["allocated"] > 1
    assert await refused(api) == "region local is full: no open cluster has a free weight of 1"
    assert (await command(stack, "clusters", "uncordon", "one"))["capacity"] == 100
    operation = await provision(api)
    assert (await api.call("GET", f"tenants/{operation['tenant']}"))["cluster"] == "one"
    where = ("--domain", stack.registration("two")["domain"], "--gateway", f"{NAMESPACE}/{NAME}")
    await command(
        stack, "clusters", "register", "two", "--region", "local", "--capacity", "90", "--context", "two", *where
    )
    listed = {each["name"]: (each["state"], each["capacity"]) for each in await command(stack, "clusters", "list")}
    assert listed == {"one": ("open", 100), "two": ("open", 90)}


async def test_a_cluster_is_removed_and_registered_again(stack: Stack, api: Api) -> None:
    await register(api, stack, "one", state="cordoned")
    await provision(api)
    await register(api, stack, "one")
    await register(api, stack, "two", state="cordoned")
    tenants = [each["slug"] for each in await api.all("tenants", cluster="two")]
    with pytest.raises(
        ProblemError, match=r"409 .* cluster two is not removed: it has tenants \(.* active\): "
    ) as error:
        await api.call("DELETE", "clusters/two")
    assert f" active): {min(tenants)}" in str(error.value)
    deletions = [await api.call("DELETE", f"tenants/{slug}") for slug in tenants]
    assert {(await ended(api, each))["state"] for each in deletions} == {"succeeded"}
    assert (await command(stack, "clusters", "remove", "two", "--yes"))["state"] == "cordoned"
    assert [each["name"] for each in await api.all("clusters")] == ["one"]
    with pytest.raises(ProblemError, match=r"404 .* no cluster two is registered"):
        await api.call("DELETE", "clusters/two")
    operation = await provision(api)
    assert (await api.call("GET", f"tenants/{operation['tenant']}"))["cluster"] == "one"
    await register(api, stack, "two")
    await register(api, stack, "one", state="cordoned")
    operation = await provision(api)
    assert (await api.call("GET", f"tenants/{operation['tenant']}"))["cluster"] == "two"


async def test_a_cluster_is_probed_and_recognised(stack: Stack, api: Api) -> None:
    await provision(api)
    await provision(api)  # so that both have tenants
    uids = {each["name"]: each["uid"] for each in await api.all("clusters")}
    [warning] = (await register(api, stack, "one", access={"kubeconfig_context": "one"}))["warnings"]
    assert "tenants cannot resolve names" in warning
    other = stack.registration("two")
    with pytest.raises(ProblemError, match=r"409 .* cluster one has tenants, and another cluster responds"):
        await register(api, stack, "one", access=other["access"], domain=other["domain"])
    with pytest.raises(ProblemError, match=r"409 .*\n.* does not cover \*\.nowhere\.example\.com"):
        await register(api, stack, "one", domain="nowhere.example.com")
    with pytest.raises(ProblemError, match=r"422 .*\n  /access/kubeconfig_context: .* no context nowhere that works"):
        await register(api, stack, "one", access={"kubeconfig_context": "nowhere"})
    ca_pem = await asyncio.to_thread(stack.control_plane.authority.certificate.read_text)
    with pytest.raises(ProblemError, match=r"422 .*\n  /access/server: the server is not an API server of AKS"):
        await register(api, stack, "new", access={"server": stack.control_plane.server, "ca_pem": ca_pem})
    assert {each["name"]: each["uid"] for each in await api.all("clusters")} == uids
    assert len(set(uids.values())) == 2


@pytest.mark.parametrize(
    ("body", "pointer"),
    [({}, ""), ({"state": "shut"}, "/state"), ({"capacity": 0}, "/capacity"), ({"region": "mars"}, "/region")],
)
async def test_an_invalid_cluster_change_gets_a_pointer(api: Api, body: Json, pointer: str) -> None:
    with pytest.raises(ProblemError) as rejected:
        await api.call("PATCH", "clusters/one", body)
    assert rejected.value.status == 422
    assert [each["pointer"] for each in rejected.value.problem["errors"]] == [pointer]


async def test_only_operators_change_only_registered_clusters(stack: Stack, api: Api) -> None:
    with pytest.raises(ProblemError, match="404 Not found: no cluster nowhere is registered"):
        await api.call("PATCH", "clusters/nowhere", {"state": "cordoned"})
    async with Api(stack.api_url, stack.function_key) as portal:
        with pytest.raises(ProblemError) as rejected:
            await portal.call("PATCH", "clusters/one", {"state": "cordoned"})
    assert rejected.value.status == 401


async def test_capacity_is_not_exceeded_and_deletion_frees_it(stack: Stack, api: Api) -> None:
    before = {each["name"]: each for each in await api.all("clusters")}
    for name in ("one", "two"):
        await register(api, stack, name, capacity=max(1, before[name]["allocated"] + 1))
    operations = [await provision(api) for _ in range(2)]
    assert "is full" in await refused(api)
    clusters = await api.all("clusters")
    assert all(each["allocated"] == each["capacity"] for each in clusters)
    for operation in operations:
        await ended(api, await api.call("DELETE", f"tenants/{operation['tenant']}"))
    assert {each["name"]: each["allocated"] for each in await api.all("clusters")} == {
        name: each["allocated"] for name, each in before.items()
    }


async def test_signups_are_queued_in_order_and_rejected_when_full(stack: Stack, api: Api) -> None:
    operations: list[Json] = []
    rejected: set[tuple[int, str]] = set()
    await register(api, stack, "two", state="cordoned")  # one cluster, whose queue has an order
    async with asyncio.timeout(60):
        while len(operations) < 9:
            try:
                operations.append(await api.call("POST", "tenants", signup_body(new_slug(), version="slow-1")))
            except ProblemError as error:
                rejected.add((error.status, error.problem["type"]))
                await asyncio.sleep(1)  # as Retry-After says
    assert rejected == {(429, "/api/problems/queue-full")}
    positions: set[int] = set()

    async def watch(operation: Json) -> Json:
        async for each in api.follow(operation, every=0.2):
            operation = each
            positions.add(each["queue_position"] or 0)
        return operation

    async with asyncio.timeout(100):
        done = await asyncio.gather(*(watch(operation) for operation in operations))
    assert {each["state"] for each in done} == {"succeeded"}
    assert {0, 1, 2} <= positions <= {0, 1, 2, 3, 4}
    started = [each["steps"][1]["started_at"] for each in done]
    for number, moment in enumerate(started):  # either of the two that may start can be first
        assert sum(earlier > moment for earlier in started[:number]) <= 1
    for moment in started:
        assert sum(each["steps"][1]["started_at"] <= moment < each["finished_at"] for each in done) <= 2


async def test_a_slot_survives_the_loss_of_host_and_task_hub(stack: Stack, api: Api) -> None:
    await register(api, stack, "two", state="cordoned")
    begun = [await api.call("POST", "tenants", signup_body(new_slug(), version="slow-1")) for _ in range(4)]
    async with asyncio.timeout(30):  # until two have a slot and begin; the others are queued
        while sum(each["steps"][1]["state"] != "pending" for each in begun) < 2:
            begun = await asyncio.gather(*(api.call("GET", f"operations/{each['id']}") for each in begun))
    stack.processes.kill("task-hub")
    stack.processes.kill("host")
    await until(stack.host_ready, seconds=30)
    assert {(await ended(api, each))["state"] for each in begun} == {"succeeded"}


async def test_a_dead_cluster_harms_only_itself(stack: Stack, api: Api) -> None:
    await register(api, stack, "one", state="cordoned")
    there = (await provision(api))["tenant"]  # on the one that dies
    await register(api, stack, "one")

    async def breaker(name: str) -> object:
        return {each["name"]: each["breaker"] for each in await api.all("clusters")}[name]

    async def is_closed() -> bool:
        return await breaker("two") is None

    server = stack.control_planes["two"].processes.pids()["two-apiserver"]
    os.kill(server, signal.SIGSTOP)  # its connections stay open, and nothing responds
    try:
        begun = [await api.call("POST", "tenants", signup_body(new_slug())) for _ in range(4)]
        assert {(await ended(api, each))["state"] for each in begun} == {"succeeded"}
        assert {(await api.call("GET", f"tenants/{each['tenant']}"))["cluster"] for each in begun} == {"one"}
        assert await breaker("two") is not None
        assert await breaker("one") is None
        deletion = await api.call("DELETE", f"tenants/{there}")
        forgotten = await command(stack, "tenants", "forget", there, "--reason", "it will not come back")
        assert (forgotten["state"], forgotten["cluster"]) == ("deleted", "")
        assert (await ended(api, deletion))["state"] == "cancelled"
        assert (await api.all(f"tenants/{there}/audit"))[0]["reason"].endswith(": it will not come back")
    finally:
        os.kill(server, signal.SIGCONT)
    await until(is_closed, seconds=30)
