"""One cluster: what apply, wait and remove promise."""

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from copy import deepcopy
from datetime import timedelta
from typing import Any

import pytest

from shared.adapters.kubernetes.ownership import INSTANCE, OWNER
from shared.adapters.templates import YamlTenantTemplates
from shared.application.ports.clusters import KubernetesCluster, Manifest
from shared.domain.instances import namespace_name
from shared.domain.routes import KIND, ROUTE_NAME
from shared.domain.tenants import Tenant
from shared.errors import Conflict, NotFound, NotOurs, Permanent, Transient
from tests.support.builders import LOCAL, PLANS, PRODUCT, TENANT_SETTINGS
from tests.support.by_hand import Administered
from tests.support.fresh_tenants import fresh_tenant
from tests.support.polling import until


async def apply(cluster: KubernetesCluster, value: Tenant) -> str:
    await cluster.apply(YamlTenantTemplates(TENANT_SETTINGS, PLANS).render(value, LOCAL))
    return namespace_name(value.instance)


def without_labels(manifest: Manifest) -> dict[str, Any]:
    return {**manifest, "metadata": {name: value for name, value in manifest["metadata"].items() if name != "labels"}}


async def test_an_applied_tenant_becomes_ready(administered: Administered) -> None:
    cluster = administered.cluster
    namespace = await apply(cluster, fresh_tenant())
    status = await cluster.wait_until_ready(namespace, PRODUCT, timeout=20)
    assert (status.ready, status.permanent, status.reason, status.message) == (True, False, "", "ready")
    assert (await cluster.wait_until_ready(namespace, PRODUCT, timeout=20)).ready  # again


async def test_applying_again_changes_nothing(administered: Administered) -> None:
    cluster, by_hand = administered
    value = fresh_tenant()
    namespace = await apply(cluster, value)
    assert (await cluster.wait_until_ready(namespace, PRODUCT, timeout=20)).ready
    before = await by_hand.versions(namespace)
    assert len(before) == 10
    await apply(cluster, value)
    assert await by_hand.versions(namespace) == before
    assert (await cluster.wait_until_ready(namespace, PRODUCT, timeout=20)).ready


def route(value: Tenant) -> Manifest:
    return YamlTenantTemplates(TENANT_SETTINGS, PLANS).route(value, LOCAL)


async def test_a_route_is_served_until_it_is_closed(administered: Administered) -> None:
    cluster, by_hand = administered
    value = fresh_tenant()
    namespace = await apply(cluster, value)
    assert (await cluster.open_route(route(value), timeout=10)).serving
    before = (await by_hand.versions(namespace))[f"{KIND}/{ROUTE_NAME}"]
    assert (await cluster.open_route(route(value), timeout=10)).serving  # again, which changes nothing
    assert (await by_hand.versions(namespace))[f"{KIND}/{ROUTE_NAME}"] == before
    for _ in range(2):
        await cluster.close_route(namespace)
        assert f"{KIND}/{ROUTE_NAME}" not in await by_hand.versions(namespace)


async def test_a_route_without_its_service_is_not_served(administered: Administered) -> None:
    value = fresh_tenant()
    objects = YamlTenantTemplates(TENANT_SETTINGS, PLANS).render(value, LOCAL)
    await administered.cluster.apply([each for each in objects if each["kind"] != "Service"])
    status = await administered.cluster.open_route(route(value), timeout=2)
    assert (status.serving, status.refused, status.reason) == (False, True, "BackendNotFound")
    assert status.message.startswith("the gateway cannot serve the tenant's route: BackendNotFound")


async def test_a_route_of_nobody_is_not_opened(administered: Administered) -> None:
    value = fresh_tenant()
    with pytest.raises(Transient, match=namespace_name(value.instance)):
        await administered.cluster.open_route(route(value), timeout=1)
    await administered.cluster.close_route(namespace_name(value.instance))


async def test_a_route_among_the_other_objects_is_refused(administered: Administered) -> None:
    with pytest.raises(Permanent, match="does not apply the kinds HTTPRoute"):
        await administered.cluster.apply([route(fresh_tenant())])


async def test_each_failed_start_has_its_reason(administered: Administered) -> None:
    cluster = administered.cluster

    async def has_status(version: str, reason: str, *, permanent: bool) -> None:
        namespace = await apply(cluster, fresh_tenant(version))
        status = await cluster.wait_until_ready(namespace, PRODUCT, timeout=20 if permanent else 3)
        assert (status.ready, status.permanent, status.reason) == (False, permanent, reason)
        assert status.message
        await cluster.remove(namespace, timeout=30)

    await asyncio.gather(
        has_status("missing-1", "ErrImagePull", permanent=True),
        has_status("crash-1", "CrashLoopBackOff", permanent=True),
        has_status("never-ready-1", "ContainersNotReady", permanent=False),
        has_status("slow-1", "ContainerCreating", permanent=False),
    )


async def test_a_stopped_tenant_starts_again_with_its_volume(administered: Administered) -> None:
    cluster, by_hand = administered
    objects = YamlTenantTemplates(TENANT_SETTINGS, PLANS).render(value := fresh_tenant(), LOCAL)
    namespace = await apply(cluster, value)
    assert (await cluster.wait_until_ready(namespace, PRODUCT, timeout=20)).ready
    claim, objects_before = await by_hand.claim(namespace), set(await by_hand.versions(namespace))
    assert await cluster.replicas(namespace) == {"product": 1}
    assert "product-0" in await cluster.wait_until_stopped(namespace, timeout=0.1)
    for _ in range(2):
        await cluster.stop(namespace)
        assert await cluster.wait_until_stopped(namespace, timeout=20) == ""
    assert await cluster.replicas(namespace) == {"product": 0}
    assert not (await cluster.wait_until_ready(namespace, PRODUCT, timeout=3)).ready
    assert set(await by_hand.versions(namespace)) == objects_before
    await cluster.apply(objects, is_new=False)
    assert (await cluster.wait_until_ready(namespace, PRODUCT, timeout=20)).ready
    assert await cluster.replicas(namespace) == {"product": 1}
    assert await by_hand.claim(namespace) == claim


async def test_a_route_is_gone_while_a_tenant_is_stopped(administered: Administered) -> None:
    cluster, by_hand = administered
    namespace = await apply(cluster, value := fresh_tenant())
    assert (await cluster.wait_until_ready(namespace, PRODUCT, timeout=20)).ready
    assert (await cluster.open_route(route(value), timeout=10)).serving
    await cluster.close_route(namespace)
    await cluster.stop(namespace)
    assert await cluster.wait_until_stopped(namespace, timeout=20) == ""
    assert f"{KIND}/{ROUTE_NAME}" not in await by_hand.versions(namespace)
    await cluster.apply(YamlTenantTemplates(TENANT_SETTINGS, PLANS).render(value, LOCAL), is_new=False)
    assert (await cluster.wait_until_ready(namespace, PRODUCT, timeout=20)).ready
    assert f"{KIND}/{ROUTE_NAME}" not in await by_hand.versions(namespace)
    assert (await cluster.open_route(route(value), timeout=10)).serving


async def test_what_is_not_new_is_not_made_anew(administered: Administered) -> None:
    cluster, by_hand = administered
    value = fresh_tenant()
    namespace = namespace_name(value.instance)
    with pytest.raises(NotFound, match=namespace):
        await cluster.apply(YamlTenantTemplates(TENANT_SETTINGS, PLANS).render(value, LOCAL), is_new=False)
    assert not await by_hand.exists(namespace)
    for ask in (cluster.replicas, cluster.stop):
        with pytest.raises(NotFound, match=namespace):
            await ask(namespace)


async def test_a_pod_of_others_makes_no_tenant_ready(administered: Administered) -> None:
    cluster, by_hand = administered
    waiting, starting = await apply(cluster, fresh_tenant("never-ready-1")), await apply(cluster, fresh_tenant())
    await by_hand.run_pod(waiting, ready=True)
    await by_hand.run_pod(starting, ready=False)
    assert not (await cluster.wait_until_ready(waiting, PRODUCT, timeout=3)).ready
    assert (await cluster.wait_until_ready(starting, PRODUCT, timeout=20)).ready


async def test_only_the_removed_tenant_is_gone(administered: Administered) -> None:
    cluster, by_hand = administered
    removed, kept = [await apply(cluster, fresh_tenant()) for _ in range(2)]
    assert await by_hand.exists(removed)
    await cluster.remove(removed, timeout=20)
    assert not await by_hand.exists(removed)
    assert (await cluster.wait_until_ready(kept, PRODUCT, timeout=20)).ready
    await cluster.remove(removed, timeout=1)  # again, without effect
    with pytest.raises(NotFound, match=removed):
        await cluster.wait_until_ready(removed, PRODUCT, timeout=0.5)


async def test_waiting_for_what_was_never_there_is_not_found(administered: Administered) -> None:
    with pytest.raises(NotFound, match="tenant-nobody"):
        await administered.cluster.wait_until_ready("tenant-nobody", PRODUCT, timeout=0.5)


async def test_waiting_for_what_was_removed_by_hand_is_not_found(administered: Administered) -> None:
    cluster, by_hand = administered
    namespace = await apply(cluster, fresh_tenant("never-ready-1"))
    await by_hand.delete(namespace)

    async def wait_repeatedly() -> None:  # because the pod may still exist for a while
        async with asyncio.timeout(40):
            while True:
                await cluster.wait_until_ready(namespace, PRODUCT, timeout=1)

    with pytest.raises(NotFound, match=namespace):
        await wait_repeatedly()


async def test_a_removal_that_is_held_is_transient(administered: Administered) -> None:
    cluster, by_hand = administered
    namespace = await apply(cluster, fresh_tenant())
    await by_hand.hold(namespace)
    with pytest.raises(Transient, match="still being removed"):
        await cluster.remove(namespace, timeout=3)
    await by_hand.release(namespace)
    await cluster.remove(namespace, timeout=30)
    assert not await by_hand.exists(namespace)


async def test_an_unknown_kind_is_permanent(administered: Administered) -> None:
    with pytest.raises(Permanent, match="does not apply the kinds Gadget"):
        await administered.cluster.apply([{"apiVersion": "v1", "kind": "Gadget", "metadata": {"name": "x"}}])


async def test_a_cluster_that_answers_passes_its_check(administered: Administered) -> None:
    assert await administered.cluster.check() == await administered.cluster.uid()


@pytest.mark.parametrize("labels", [{}, {OWNER: "other"}, {OWNER: TENANT_SETTINGS.owner, INSTANCE: "other"}])
async def test_a_namespace_of_others_is_never_touched(administered: Administered, labels: dict[str, str]) -> None:
    cluster, by_hand = administered
    value = fresh_tenant()
    namespace = namespace_name(value.instance)
    await by_hand.create(namespace, {INSTANCE: value.instance, **labels})
    with pytest.raises(NotOurs, match=namespace):
        await apply(cluster, value)
    with pytest.raises(NotOurs, match=namespace):
        await cluster.remove(namespace, timeout=5)
    assert await by_hand.exists(namespace)
    assert await by_hand.versions(namespace) == {}


async def test_an_object_of_others_is_never_taken_over(administered: Administered) -> None:
    cluster, by_hand = administered
    home, *objects = YamlTenantTemplates(TENANT_SETTINGS, PLANS).render(fresh_tenant("never-ready-1"), LOCAL)
    namespace = home["metadata"]["name"]
    await cluster.apply([home])
    await by_hand.create_in(namespace, [without_labels(each) for each in objects])
    for each in objects:
        kind, name = each["kind"], each["metadata"]["name"]
        with pytest.raises(NotOurs, match=f"the {kind} {name} in {namespace} is not"):
            await cluster.apply([home, each])
    assert await by_hand.versions(namespace) == {}


async def test_a_volume_of_others_is_never_removed(administered: Administered) -> None:
    cluster, by_hand = administered
    objects = YamlTenantTemplates(TENANT_SETTINGS, PLANS).render(fresh_tenant("never-ready-1"), LOCAL)
    namespace = objects[0]["metadata"]["name"]
    await cluster.apply(objects)
    [claim] = [without_labels(each) for each in objects if each["kind"] == "PersistentVolumeClaim"]
    claim["metadata"]["name"] = "theirs"
    await by_hand.create_in(namespace, [claim])
    before = await by_hand.versions(namespace)
    with pytest.raises(Permanent, match=f"claim theirs in the namespace {namespace}") as refused:
        await cluster.remove(namespace, timeout=5)
    assert not isinstance(refused.value, NotOurs)  # which would end an operation
    assert (await by_hand.versions(namespace)).keys() == before.keys()
    await by_hand.delete_claim(namespace, "theirs")
    with suppress(Transient):  # it takes longer, but is not refused any more
        await cluster.remove(namespace, timeout=0.1)


@pytest.mark.parametrize("kind", ["Secret", "StatefulSet"])
async def test_a_template_without_labels_is_refused(administered: Administered, kind: str) -> None:
    cluster, by_hand = administered
    objects = YamlTenantTemplates(TENANT_SETTINGS, PLANS).render(fresh_tenant(), LOCAL)
    wrong = [without_labels(each) if each["kind"] == kind else each for each in objects]
    with pytest.raises(NotOurs, match=f"the {kind} "):
        await cluster.apply(wrong)
    assert not await by_hand.exists(objects[0]["metadata"]["name"])


async def test_a_workload_that_selects_others_is_refused(administered: Administered) -> None:
    objects = [deepcopy(each) for each in YamlTenantTemplates(TENANT_SETTINGS, PLANS).render(fresh_tenant(), LOCAL)]
    [workload] = [each for each in objects if each["kind"] == "StatefulSet"]
    workload["spec"]["selector"]["matchLabels"] = {"app": "product"}
    with pytest.raises(NotOurs, match="StatefulSet product does not select the label"):
        await administered.cluster.apply(objects)


async def test_a_template_without_the_owner_is_refused(administered: Administered) -> None:
    cluster, by_hand = administered
    value = fresh_tenant()
    others = TENANT_SETTINGS.model_copy(update={"owner": "other"})
    with pytest.raises(NotOurs, match="owner=other"):
        await cluster.apply(YamlTenantTemplates(others, PLANS).render(value, LOCAL))
    assert not await by_hand.exists(namespace_name(value.instance))


async def test_the_namespaces_of_this_berth_are_found(administered: Administered) -> None:
    cluster, by_hand = administered
    values = [fresh_tenant() for _ in range(2)]
    names = [await apply(cluster, value) for value in values]
    instance = fresh_tenant().instance
    await by_hand.create(namespace_name(instance), {OWNER: "other", INSTANCE: instance})
    await by_hand.create(f"x-{instance}", {OWNER: TENANT_SETTINGS.owner, INSTANCE: instance})
    found = {each.instance: each for each in await cluster.tenant_namespaces()}
    assert [found[value.instance].slug for value in values] == [value.slug for value in values]
    assert instance not in found
    first = found[values[0].instance]
    assert not first.is_being_removed
    age = await cluster.time() - first.created_at
    assert timedelta(seconds=-1) <= age < timedelta(minutes=1)
    await cluster.remove(names[0], timeout=30)
    assert values[0].instance not in {each.instance for each in await cluster.tenant_namespaces()}


async def test_the_workloads_and_routes_of_this_berth_are_found(administered: Administered) -> None:
    cluster, by_hand = administered
    routed, stopped, others = values = [fresh_tenant() for _ in range(3)]
    names = [await apply(cluster, value) for value in values]
    for value in (routed, others):
        await cluster.open_route(route(value), timeout=10)
    await cluster.stop(names[1])
    theirs = [deepcopy(each) for each in YamlTenantTemplates(TENANT_SETTINGS, PLANS).render(stopped, LOCAL)]
    [workload] = [without_labels(each) for each in theirs if each["kind"] == "StatefulSet"]
    workload["metadata"]["name"] = "theirs"
    open_route = without_labels(route(stopped))
    await by_hand.create_in(names[1], [workload, open_route])

    async def workloads(value: Tenant) -> list[int]:
        return [each.replicas for each in await cluster.tenant_workloads() if each.instance == value.instance]

    assert [await workloads(value) for value in values] == [[1], [0], [1]]
    assert [value.instance in await cluster.tenant_routes() for value in values] == [True, False, True]
    await cluster.close_route(names[0])
    await cluster.remove(names[2], timeout=30)
    assert [await workloads(value) for value in values] == [[1], [0], []]
    assert not {value.instance for value in values} & await cluster.tenant_routes()


async def test_removed_namespaces_are_told_once(administered: Administered) -> None:
    cluster, by_hand = administered
    removed, kept = fresh_tenant(), fresh_tenant()
    names = [await apply(cluster, value) for value in (removed, kept)]
    begin = await cluster.removed_namespaces("")
    assert (begin.found, begin.is_complete) == ((), False)
    await by_hand.delete(names[0])
    found = await cluster.removed_namespaces(begin.position)
    assert found.is_complete
    [lost] = [each for each in found.found if each.instance == removed.instance]
    assert (lost.slug, lost.is_being_removed) == (removed.slug, True)
    assert kept.instance not in {each.instance for each in found.found}
    assert [await cluster.has_namespace(name) for name in names] == [False, True]

    async def is_gone() -> bool:
        return not await by_hand.exists(names[0])

    await until(is_gone, seconds=20)
    rest = await cluster.removed_namespaces(found.position)
    last = await cluster.removed_namespaces(rest.position)
    assert removed.instance not in {each.instance for each in last.found}


async def test_removals_are_told_after_the_versions_went_back(administered: Administered) -> None:
    cluster, by_hand = administered
    removed = fresh_tenant()
    name = await apply(cluster, removed)
    begin = await cluster.removed_namespaces("")
    ahead = str(int(begin.position) + 10**9)  # as of a cluster that was then restored from a backup
    again = await cluster.removed_namespaces(ahead)
    assert (again.found, again.is_complete) == ((), False)
    await by_hand.delete(name)
    found = await cluster.removed_namespaces(again.position)
    assert removed.instance in {each.instance for each in found.found}


async def test_volumes_that_stay_are_named(administered: Administered) -> None:
    cluster, by_hand = administered
    namespaces = [await apply(cluster, fresh_tenant()) for _ in range(2)]
    for namespace in namespaces:
        assert (await cluster.wait_until_ready(namespace, PRODUCT, timeout=20)).ready
    volume = await by_hand.retain(namespaces[0])
    recorded: list[list[str]] = []

    async def record(names: Sequence[str]) -> None:
        recorded.append(list(names))
        raise Conflict("the tenant was changed by somebody else")

    for namespace in namespaces:
        with pytest.raises(Conflict, match="changed by somebody else"):
            await cluster.remove(namespace, timeout=30, record_kept=record)
        assert await cluster.has_namespace(namespace)  # nothing was deleted before the names are recorded
    assert recorded == [[volume], []]
    await cluster.remove(namespaces[0], timeout=30)

    async def is_left() -> bool:
        return volume in {each.name for each in await cluster.left_volumes()}

    await until(is_left)
