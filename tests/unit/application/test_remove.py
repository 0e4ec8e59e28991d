"""Removing: it is retried until nothing is left, and only for kinds of operation that may remove data."""

from dataclasses import replace

import pytest

from shared.adapters.kubernetes.ownership import OWNER
from shared.domain.clusters import ClusterName
from shared.domain.instances import namespace_name
from shared.domain.lifecycle import RULES, OperationKind, StepName, TenantState
from shared.domain.operations import OperationState
from shared.domain.slugs import Slug
from shared.domain.workflow import Activity, Verdict
from shared.errors import BerthError, Permanent, Transient
from tests.support.world import PORTAL, World, new_world, violations

ACME, ONE = Slug("acme"), ClusterName("one")
FORBIDDEN = Permanent("forbidden: cannot delete namespaces")


def refuse_removal(name: str) -> BerthError | None:
    return FORBIDDEN if name == "remove" else None


async def deleting() -> World:
    """Return a world whose tenant `acme` is about to be removed."""
    world = await new_world()
    await world.active()
    await world.worker.delete.delete(ACME, PORTAL, world.workflows)
    return world


async def test_a_refused_removal_is_retried(caplog: pytest.LogCaptureFixture) -> None:
    world = await deleting()
    operation = (await world.tenant()).operation
    world.worker.faults.away = refuse_removal
    outcome = await world.do(Activity.REMOVE, operation)
    sentence = "removal was refused: forbidden: cannot delete namespaces"
    assert (outcome.verdict, outcome.reason, outcome.wait) == (Verdict.RETRY, sentence, 30.0)
    assert (await world.tenant()).operation.step(StepName.REMOVE).message == sentence
    [line] = [record.message for record in caplog.records if record.message.startswith("removal refused")]
    assert f"tenant=acme operation={operation.id}" in line
    world.worker.faults.reset()
    await world.run()
    assert (await world.tenant()).state is TenantState.DELETED
    assert await violations(world) == []


@pytest.mark.parametrize("is_deletion", [True, False])
async def test_only_what_was_just_begun_may_lack_its_cluster(is_deletion: bool) -> None:
    world = await deleting() if is_deletion else await new_world()
    if not is_deletion:
        await world.do(Activity.APPLY, await world.sign_up(version="missing-1"))
    operation = (await world.tenant()).operation
    stored = await world.worker.clusters.get(ONE)
    await world.worker.clusters.remove(stored)
    outcome = await world.do(Activity.REMOVE, operation, reason="it failed")
    expected = Verdict.RETRY if is_deletion else Verdict.DONE
    assert (outcome.verdict, (await world.tenant()).operation.is_open) == (expected, is_deletion)
    if is_deletion:
        assert outcome.reason == "removal was refused: no cluster one is registered"


async def test_a_volume_of_others_holds_up_a_compensation() -> None:
    world = await new_world()
    operation = await world.sign_up(version="missing-1")
    await world.do(Activity.APPLY, operation)
    [(name, namespace)] = world.kubernetes[ONE].namespaces.items()
    claim = ("PersistentVolumeClaim", "theirs")
    namespace.objects[claim] = {"kind": claim[0], "metadata": {"name": claim[1], "namespace": name}}
    await world.run(steps=50)
    assert (await world.tenant()).operation.is_open
    assert "the volume claim theirs in" in (await world.tenant()).operation.step(StepName.REMOVE).message
    assert claim in namespace.objects
    del namespace.objects[claim]
    await world.run()
    assert (await world.tenant()).state is TenantState.FAILED
    assert await violations(world) == []


async def test_a_deletion_never_fails() -> None:
    world = await deleting()
    world.worker.faults.away = refuse_removal
    await world.run(steps=500)
    tenant = await world.tenant()
    assert (tenant.state, tenant.operation.is_open, tenant.operation.reason) == (TenantState.DELETING, True, "")
    assert world.clock.monotonic() > 3600
    world.worker.faults.reset()
    await world.run()
    assert (await world.tenant()).operation.state is OperationState.SUCCEEDED


async def test_a_namespace_that_is_held_is_waited_for() -> None:
    world = await deleting()
    [namespace] = world.kubernetes[ONE].namespaces.values()
    namespace.held = True
    outcome = await world.do(Activity.REMOVE, (await world.tenant()).operation)
    assert (outcome.verdict, "it is held" in outcome.reason) == (Verdict.RETRY, True)
    assert (await world.cluster()).allocated == 1  # its room is still in use
    namespace.held = False
    await world.run()
    assert (await world.cluster()).allocated == 0


async def test_a_slot_is_free_while_a_removal_takes_long() -> None:
    world = await new_world(max_concurrent=1)
    operation = await world.sign_up()
    await world.do(Activity.APPLY, operation)
    [namespace] = world.kubernetes[ONE].namespaces.values()
    namespace.held = True
    await world.do(Activity.REMOVE, operation, reason="too slow")
    assert ((await world.cluster()).starting, (await world.cluster()).allocated) == (0, 1)


async def test_a_cluster_that_is_away_holds_a_removal_up() -> None:
    world = await deleting()
    world.kubernetes[ONE].away = Transient("the API server does not respond")
    await world.run(steps=100)
    assert (await world.tenant()).state is TenantState.DELETING
    world.kubernetes[ONE].away = None
    await world.run()
    assert await violations(world) == []


async def test_a_kind_that_may_not_never_removes_data(monkeypatch: pytest.MonkeyPatch) -> None:
    world = await new_world()
    operation = await world.sign_up()
    await world.do(Activity.APPLY, operation)
    rules = {**RULES, OperationKind.PROVISION: replace(RULES[OperationKind.PROVISION], compensation=None)}
    monkeypatch.setattr("shared.domain.lifecycle.RULES", rules)
    outcome = await world.do(Activity.REMOVE, operation, reason="too slow")
    assert outcome.verdict is Verdict.FAILED
    assert outcome.reason == "an operation of the kind provision never removes a tenant's data"
    assert len(world.kubernetes[ONE].namespaces) == 1
    assert (await world.cluster()).allocated == 1


async def test_removing_again_changes_nothing() -> None:
    world = await deleting()
    operation = (await world.tenant()).operation
    assert (await world.do(Activity.REMOVE, operation)).verdict is Verdict.DONE
    before = await world.tenant()
    assert (await world.do(Activity.REMOVE, operation)).verdict is Verdict.ENDED
    assert await world.tenant() == before


async def test_a_failed_tenant_keeps_the_first_reason() -> None:
    world = await new_world()
    operation = await world.sign_up()
    await world.do(Activity.APPLY, operation)
    world.worker.faults.away = refuse_removal
    await world.do(Activity.REMOVE, operation, reason="first")
    world.worker.faults.reset()
    await world.do(Activity.REMOVE, operation, reason="second")
    tenant = await world.tenant()
    assert (tenant.state, tenant.operation.reason) == (TenantState.FAILED, "first")


async def test_a_volume_of_somebody_else_is_not_named() -> None:
    world = await deleting()
    [(name, namespace)] = world.kubernetes[ONE].namespaces.items()
    world.kubernetes[ONE].retained[name] = "theirs"
    key = ("Namespace", name)
    labels = {**namespace.manifest["metadata"]["labels"], OWNER: "other"}
    namespace.objects[key] = {"kind": "Namespace", "metadata": {"name": name, "labels": labels}}
    await world.run(steps=10)
    assert (await world.tenant()).operation.kept_volumes == ()


async def test_a_volume_that_stays_is_named_at_the_end() -> None:
    world = await new_world()
    tenant = await world.active()
    namespace = namespace_name(tenant.instance)
    cluster = world.kubernetes[ONE]
    cluster.retained[namespace] = "pvc-1"
    cluster.namespaces[namespace].held = True
    await world.worker.delete.delete(Slug("acme"), PORTAL, world.workflows)
    await world.run(steps=10)
    cluster.namespaces[namespace].held = False
    await world.run()
    tenant = await world.tenant()
    assert (tenant.state, tenant.operation.kept_volumes) == ("deleted", ("pvc-1",))
    world.clock.advance(3600)
    await world.worker.reconciliation.run(world.workflows)
    [finding] = await world.worker.findings.open()
    assert (finding.finding.kind, finding.finding.subject) == ("volume", "pvc-1")
