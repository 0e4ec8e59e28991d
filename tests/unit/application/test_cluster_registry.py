"""Registering clusters, and changing a registration: nobody undoes what somebody else does at the same moment."""

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from shared.application import cluster_registry
from shared.application.cluster_registry import Registration
from shared.domain.clusters import AzureAccess, ClusterName, ClusterState, GatewayRef, KubeconfigAccess
from shared.errors import BerthError, Conflict, Invalid, NotFound, Transient, Unfit, Unreachable
from tests.support.builders import new_cluster
from tests.support.fake_cluster import FakeCluster
from tests.support.repositories import register
from tests.support.world import PORTAL, World, new_world

ONE, TWO, NEW, SPARE = map(ClusterName, ("one", "two", "new", "spare"))
DEAD = Unreachable("the API server cannot be reached")


def registration(name: ClusterName = NEW, **fields: Any) -> Registration:
    """Return a registration of the spare cluster under a new name, with some fields changed."""
    usual: dict[str, Any] = {
        "region": "mars",
        "capacity": 5,
        "state": None,
        "access": KubeconfigAccess("spare"),
        "domain": f"{name}.example.com",
        "gateway": GatewayRef("gateway", "tenants", "", "gateway"),
    }
    return Registration(name, **(usual | fields))


async def two_clusters() -> World:
    """Return a world with two registered clusters, and a spare one."""
    world = await new_world(workers=2, clusters=[new_cluster(), new_cluster("two")])
    world.kubernetes[SPARE] = FakeCluster(world.clock)
    return world


async def test_a_new_cluster_is_open_and_its_uid_recorded() -> None:
    world = await two_clusters()
    cluster, warnings = await world.worker.registry.register(registration())
    assert (cluster.state, cluster.region, cluster.capacity) == (ClusterState.OPEN, "mars", 5)
    assert (cluster.uid, warnings) == (world.kubernetes[SPARE].identity, ())
    assert await world.cluster("new") == cluster


@pytest.mark.parametrize("state", ClusterState)
async def test_without_a_state_it_stays_as_it_is(state: ClusterState) -> None:
    world = await two_clusters()
    for given in (state, None):
        cluster, _ = await world.worker.registry.register(registration(state=given))
        assert cluster.state is state


async def test_a_domain_stays_while_it_has_tenants() -> None:
    world = await two_clusters()
    tenant = await world.active()
    here = registration(tenant.cluster, region="local", access=KubeconfigAccess(tenant.cluster))
    with pytest.raises(Conflict, match=f"whose addresses are under {tenant.cluster}.example.com"):
        await world.worker.registry.register(replace(here, domain="other.example.com"))
    await world.worker.registry.register(here)
    await world.worker.delete.delete(tenant.slug, PORTAL, world.workflows)
    await world.run()
    cluster, _ = await world.worker.registry.register(replace(here, domain="other.example.com"))
    assert cluster.domain == "other.example.com"


async def test_what_is_missing_keeps_a_new_cluster_out() -> None:
    world = await two_clusters()
    world.kubernetes[SPARE].missing, world.kubernetes[SPARE].warnings = ("no storage", "no rights"), ("no DNS",)
    with pytest.raises(Unfit, match="cluster new was not registered") as refused:
        await world.worker.registry.register(registration())
    assert refused.value.missing == (("/access", "no storage"), ("/access", "no rights"))
    with pytest.raises(NotFound):
        await world.cluster("new")


@pytest.mark.parametrize("is_dead", [True, False])
async def test_what_is_missing_refuses_a_new_address_too(is_dead: bool) -> None:
    world = await two_clusters()
    before = await world.cluster()
    world.kubernetes[SPARE].away, world.kubernetes[SPARE].missing = (DEAD if is_dead else None), ("no storage",)
    with pytest.raises(Unfit):
        await world.worker.registry.register(registration(ONE))
    assert await world.cluster() == before


async def test_a_gateway_that_is_not_there_is_refused() -> None:
    world = await two_clusters()
    gone = GatewayRef("gateway", "other", "", "gateway")
    before = await world.cluster()
    same = registration(ONE, access=before.access, domain=before.domain)
    for wrong in (registration(gateway=gone), replace(same, gateway=gone)):
        with pytest.raises(Unfit) as refused:
            await world.worker.registry.register(wrong)
        assert refused.value.missing == (("/gateway", "there is no gateway gateway/other"),)
    assert await world.cluster() == before
    world.kubernetes[ONE].gateway_name = "gateway/renamed"
    unchanged = replace(same, gateway=before.gateway, state=ClusterState.CORDONED)
    assert (await world.worker.registry.register(unchanged))[1] == ("there is no gateway gateway/tenants",)


async def test_warnings_keep_nothing_out() -> None:
    world = await two_clusters()
    world.kubernetes[SPARE].warnings = ("no DNS",)
    assert (await world.worker.registry.register(registration()))[1] == ("no DNS",)


@pytest.mark.parametrize("error", [DEAD, Transient("it does not accept berth's token (401)")])
async def test_a_new_cluster_must_accept_berth(error: BerthError) -> None:
    world = await two_clusters()
    world.kubernetes[SPARE].away = error
    with pytest.raises(Unfit) as refused:
        await world.worker.registry.register(registration())
    assert refused.value.missing == (("/access", str(error)),)


async def test_a_silent_cluster_is_refused_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    assert cluster_registry.PROBE_SECONDS == 10
    monkeypatch.setattr(cluster_registry, "PROBE_SECONDS", 0.05)
    world = await two_clusters()
    world.worker.faults.stall(1)
    with pytest.raises(Unfit) as refused:
        await world.worker.registry.register(registration())
    assert refused.value.missing == (("/access", "no response within 0.05 s"),)


async def test_a_dead_cluster_can_be_registered_again() -> None:
    world = await two_clusters()
    before = await world.cluster("two")
    await world.active(region="local")
    world.kubernetes[TWO].away = DEAD
    again = registration(TWO, access=before.access, region=before.region, state=ClusterState.CORDONED)
    cluster, warnings = await world.worker.registry.register(again)
    assert (cluster.state, cluster.capacity, cluster.uid) == (ClusterState.CORDONED, 5, before.uid)
    assert warnings == (str(DEAD),)


@pytest.mark.parametrize(
    ("access", "pointer"),
    [
        (KubeconfigAccess("nowhere"), "/access/kubeconfig_context"),
        (AzureAccess("https://nowhere.example.com", "PEM"), "/access/server"),
    ],
)
@pytest.mark.parametrize("name", [NEW, TWO])
async def test_an_address_of_no_cluster_is_invalid(
    access: KubeconfigAccess | AzureAccess, pointer: str, name: ClusterName
) -> None:
    world = await two_clusters()
    with pytest.raises(Invalid) as refused:
        await world.worker.registry.register(registration(name, access=access))
    assert refused.value.errors == ((pointer, "there is no cluster nowhere"),)


async def test_a_cluster_in_use_is_not_replaced() -> None:
    world = await new_world(clusters=[new_cluster(), new_cluster("two", region="mars")])
    await world.sign_up()
    before = await world.cluster()
    for access in (KubeconfigAccess("two"), AzureAccess("https://two.hcp.mars.azmk8s.io", "PEM")):
        with pytest.raises(Conflict, match="cluster one has tenants, and another cluster responds") as refused:
            await world.worker.registry.register(registration(ONE, access=access))
        assert type(refused.value) is Conflict
    assert await world.cluster() == before


@pytest.mark.parametrize("name", [NEW, ONE])
async def test_a_cluster_has_one_name_only(name: ClusterName) -> None:
    world = await two_clusters()
    with pytest.raises(Conflict, match="registered already, as two: its capacity would count twice"):
        await world.worker.registry.register(registration(name, access=KubeconfigAccess("two")))
    assert [each.name for each in await world.worker.clusters.list()] == [ONE, TWO]


async def test_a_second_name_of_earlier_may_be_cordoned() -> None:
    world = await two_clusters()
    access = KubeconfigAccess("two")
    await register(world.worker.clusters, new_cluster("new", access=access, uid=world.kubernetes[TWO].identity))
    cordoned = registration(NEW, access=access, state=ClusterState.CORDONED)
    assert (await world.worker.registry.register(cordoned))[0].state is ClusterState.CORDONED


async def test_a_rotated_authority_may_be_registered() -> None:
    world = await two_clusters()
    await world.sign_up()
    for ca_pem in ("OLD", "NEW"):
        access = AzureAccess("https://one.hcp.local.azmk8s.io", ca_pem)
        changed, _ = await world.worker.registry.register(registration(ONE, access=access))
        assert (changed.access, changed.uid) == (access, world.kubernetes[ONE].identity)


async def test_a_cluster_in_use_may_get_another_address() -> None:
    world = await new_world()
    tenant = await world.active()
    access = AzureAccess("https://one.hcp.local.azmk8s.io", "PEM")
    cluster, _ = await world.worker.registry.register(registration(ONE, access=access, region="local"))
    assert (cluster.access, cluster.allocated) == (access, 1)
    await world.worker.delete.delete(tenant.slug, PORTAL, world.workflows)
    await world.run()
    assert world.kubernetes[ONE].namespaces == {}


async def test_a_cluster_without_tenants_may_be_replaced() -> None:
    world = await two_clusters()
    cluster, _ = await world.worker.registry.register(registration(ONE, region="local"))
    assert cluster.uid == world.kubernetes[SPARE].identity
    world.clock.advance(10)  # so that other workers have read it
    await world.active()
    assert [len(world.kubernetes[name].namespaces) for name in (ONE, SPARE)] == [0, 1]


async def test_a_recreated_cluster_with_tenants_is_refused() -> None:
    world = await new_world()
    await world.active()
    world.kubernetes[ONE].identity = "another"
    with pytest.raises(Conflict, match="cluster one has tenants"):
        await world.worker.registry.register(registration(ONE, access=KubeconfigAccess("one")))


async def test_a_recreated_cluster_without_tenants_is_not() -> None:
    world = await new_world()
    world.kubernetes[ONE].identity = "another"
    cluster, _ = await world.worker.registry.register(registration(ONE, access=KubeconfigAccess("one"), region="local"))
    assert cluster.uid == "another"
    await world.active()


async def test_a_tenant_that_comes_before_the_write_counts() -> None:
    world = await two_clusters()
    stall = world.worker.faults.stall(1, after=True)  # the probe
    late = asyncio.create_task(world.worker.registry.register(registration(ONE)))
    await asyncio.wait_for(stall.reached.wait(), 5)
    await world.sign_up(worker=1)
    assert (await world.tenant()).cluster == ONE
    stall.release()
    with pytest.raises(Conflict, match="cluster one has tenants"):
        await late


async def test_a_cordon_meanwhile_is_kept() -> None:
    world = await two_clusters()
    stall = world.worker.faults.stall(1, after=True)
    late = asyncio.create_task(world.worker.registry.register(registration(ONE, access=KubeconfigAccess("one"))))
    await asyncio.wait_for(stall.reached.wait(), 5)
    await world.workers[1].registry.change(ONE, state=ClusterState.CORDONED, capacity=None)
    stall.release()
    cluster, _ = await late
    assert (cluster.state, cluster.capacity) == (ClusterState.CORDONED, 5)


async def test_a_dead_cluster_is_changed_without_a_probe() -> None:
    world = await new_world()
    world.kubernetes[ONE].away = DEAD
    changed = await world.worker.registry.change(ONE, state=ClusterState.CORDONED, capacity=3)
    assert (changed.state, changed.capacity) == (ClusterState.CORDONED, 3)
    assert "probe" not in world.worker.faults.calls


async def test_a_change_keeps_what_it_does_not_name() -> None:
    world = await new_world()
    changed = await world.worker.registry.change(ONE, state=ClusterState.CORDONED, capacity=None)
    assert (changed.state, changed.capacity) == (ClusterState.CORDONED, 10)
    changed = await world.worker.registry.change(ONE, state=None, capacity=3)
    assert (changed.state, changed.capacity) == (ClusterState.CORDONED, 3)
    assert await world.cluster() == changed


async def test_an_unknown_cluster_is_not_found() -> None:
    world = await new_world()
    with pytest.raises(NotFound, match="no cluster two is registered"):
        await world.worker.registry.change(ClusterName("two"), state=ClusterState.CORDONED, capacity=None)


async def test_a_change_that_is_there_writes_nothing() -> None:
    world = await new_world()
    world.worker.faults.reset()
    await world.worker.registry.change(ONE, state=ClusterState.OPEN, capacity=10)
    assert not any(name.startswith("transact") for name in world.worker.faults.calls)


async def test_a_change_with_a_lost_response_holds() -> None:
    for number in range(1, 5):
        world = await new_world()
        world.worker.faults.lose(number)
        await world.worker.registry.change(ONE, state=None, capacity=3)
        assert (await world.cluster()).capacity == 3, f"lost response of call {number}"


@pytest.mark.parametrize("number", [1, 2, 3])
async def test_a_registration_meanwhile_is_kept(number: int) -> None:
    world = await new_world(workers=2)
    stall = world.worker.faults.stall(number)
    late = asyncio.create_task(world.worker.registry.change(ONE, state=ClusterState.CORDONED, capacity=None))
    await asyncio.wait_for(stall.reached.wait(), 5)
    await register(world.workers[1].clusters, new_cluster(region="mars", capacity=20))
    stall.release()
    await late
    cluster = await world.cluster()
    assert (cluster.region, cluster.capacity, cluster.state) == ("mars", 20, ClusterState.CORDONED)


async def test_two_changes_at_once_both_hold() -> None:
    world = await new_world(workers=2)
    await asyncio.gather(
        world.workers[0].registry.change(ONE, state=ClusterState.CORDONED, capacity=None),
        world.workers[1].registry.change(ONE, state=None, capacity=3),
    )
    cluster = await world.cluster()
    assert (cluster.state, cluster.capacity) == (ClusterState.CORDONED, 3)


async def test_a_change_among_endless_changes_is_refused() -> None:
    world = await new_world()

    def busy(name: str) -> BerthError | None:
        return Conflict("the row was changed") if name == "transact clusters" else None

    world.worker.faults.away = busy
    with pytest.raises(Conflict, match="cluster one is changing too fast"):
        await world.worker.registry.change(ONE, state=None, capacity=3)
    assert (await world.cluster()).capacity == 10


async def test_a_probe_says_what_a_registered_cluster_lacks_now() -> None:
    world = await two_clusters()
    await world.worker.registry.register(registration())
    before = await world.cluster("new")
    spare = world.kubernetes[SPARE]
    spare.missing, spare.warnings = ("it has no storage class berth-disk",), ("nobody wakes a tenant",)
    found = await world.worker.registry.probe(NEW)
    assert (found.uid, found.missing, found.warnings) == (spare.identity, spare.missing, spare.warnings)
    assert await world.cluster("new") == before


async def test_a_probe_recognises_another_cluster() -> None:
    world = await two_clusters()
    await world.worker.registry.register(registration())
    world.kubernetes[SPARE].identity = "another"
    found = await world.worker.registry.probe(NEW)
    assert found.missing == ("another cluster responds there than the one that is registered: register it again",)


async def test_a_probe_names_why_there_is_no_response() -> None:
    world = await two_clusters()
    await world.worker.registry.register(registration())
    del world.kubernetes[SPARE]
    assert len((await world.worker.registry.probe(NEW)).missing) == 1
    with pytest.raises(NotFound):
        await world.worker.registry.probe(ClusterName("nobody"))
