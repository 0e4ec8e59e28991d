"""The findings in the tables."""

from datetime import timedelta

from shared.adapters.tables.reconciliations import TableReconciliationRepository
from shared.adapters.tables.retention import TableOldRecords
from shared.adapters.tables.storage import TableStorage
from shared.domain.clusters import ClusterName
from shared.domain.fleet_states import FleetStates
from shared.domain.instances import InstanceId
from shared.domain.lifecycle import TenantState
from shared.domain.reconciliation import Finding, FindingKind, FindingState, RecordedFinding, first_seen
from tests.support.builders import new_slug
from tests.support.clock import START


def new_findings(count: int = 3) -> list[RecordedFinding]:
    """Return findings of a cluster that no other test has, in the order of their keys."""
    cluster = ClusterName(new_slug())
    numbers = range(count)
    return [first_seen(Finding(FindingKind.ORPHAN, cluster, f"i{each:03}", "it is there"), START) for each in numbers]


async def listed(
    repository: TableReconciliationRepository, wanted: list[RecordedFinding], state: FindingState | None = None
) -> list[RecordedFinding]:
    """Return what is recorded of a test's cluster, read in pages of two."""
    found: list[RecordedFinding] = []
    token = ""
    while True:
        page = await repository.list(state, limit=2, token=token)
        found += [each for each in page.items if each.finding.cluster == wanted[0].finding.cluster]
        token = page.next_token
        if not token:
            return found


async def test_what_is_saved_is_listed(storage: TableStorage) -> None:
    repository = TableReconciliationRepository(storage)
    saved = new_findings(101)  # more than one transaction holds
    await repository.save(saved)
    assert await listed(repository, saved) == saved
    ended = saved[1].ended(FindingState.REPAIRED, START + timedelta(hours=1))
    await repository.save([ended])
    assert await listed(repository, saved, FindingState.REPAIRED) == [ended]
    left = [each for each in await repository.open() if each.finding.cluster == ended.finding.cluster]
    assert left == [saved[0], *saved[2:]]


async def test_findings_are_listed_by_cluster_and_tenant(storage: TableStorage) -> None:
    repository = TableReconciliationRepository(storage)
    cluster, slug = ClusterName(new_slug()), new_slug()
    of_tenant = first_seen(Finding(FindingKind.MISSING, cluster, InstanceId("i001"), "it is missing", slug), START)
    of_cluster = new_findings(2)
    await repository.save([*of_cluster, of_tenant])
    wanted = of_cluster[0].finding.cluster
    assert list((await repository.list(None, limit=9, token="", cluster=wanted)).items) == of_cluster
    first = await repository.list(FindingState.OPEN, limit=1, token="", cluster=wanted)
    second = await repository.list(FindingState.OPEN, limit=1, token=first.next_token, cluster=wanted)
    assert ([*first.items, *second.items], second.next_token) == (of_cluster, "")
    assert list((await repository.list(None, limit=9, token="", slug=slug)).items) == [of_tenant]
    assert (await repository.list(FindingState.GONE, limit=9, token="", cluster=cluster)).items == ()


async def test_only_what_ended_long_ago_is_purged(storage: TableStorage) -> None:
    repository = TableReconciliationRepository(storage)
    still, old, recent = new_findings()
    ended = [old.ended(FindingState.GONE, START - timedelta(days=1)), recent.ended(FindingState.GONE, START)]
    await repository.save([still, *ended])
    async for _ in TableOldRecords(storage).purge_findings(before=START):
        pass
    assert await listed(repository, [still]) == [still, ended[1]]


async def test_a_position_is_kept_for_each_cluster(storage: TableStorage) -> None:
    repository = TableReconciliationRepository(storage)
    one, two = ClusterName(new_slug()), ClusterName(new_slug())
    assert await repository.position(one) == ""
    for position in ("7", "8"):
        await repository.save_position(one, position)
    assert (await repository.position(one), await repository.position(two)) == ("8", "")


async def test_the_last_count_of_tenants_is_kept(storage: TableStorage) -> None:
    repository = TableReconciliationRepository(storage)
    for number in (1, 2):
        cluster, none = ClusterName(new_slug()), ClusterName("")
        counts = {
            (cluster, TenantState.ACTIVE): number,
            (cluster, TenantState.HIBERNATED): 3,
            (none, TenantState.FAILED): 1,
        }
        states = FleetStates.of(counts, START + timedelta(hours=number))
        await repository.save_states(states)
        assert await repository.states() == states
