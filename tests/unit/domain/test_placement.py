"""Placement: which clusters may take a tenant, and in which order."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.domain.clusters import Breaker, Cluster, ClusterState
from shared.domain.placement import candidates
from shared.errors import NoRoom, Transient
from tests.support.builders import new_cluster
from tests.support.clock import START

BREAKER = Breaker(START, "no response")
CLUSTERS = st.builds(
    new_cluster,
    st.text("abc", min_size=1, max_size=3),
    region=st.sampled_from(["local", "elsewhere"]),
    capacity=st.integers(1, 20),
    allocated=st.integers(0, 25),
    state=st.sampled_from(ClusterState),
    starting=st.integers(0, 3),
    waiting=st.integers(0, 2),
    breaker=st.sampled_from([None, None, BREAKER]),
)


def names(*clusters: Cluster, weight: int = 1) -> list[str]:
    return [cluster.name for cluster in candidates(clusters, region="local", weight=weight, max_starting=2)]


def test_a_region_without_a_cluster_has_no_room() -> None:
    with pytest.raises(NoRoom, match="no cluster is registered for region local"):
        names(new_cluster(region="elsewhere"))


def test_a_region_with_every_cluster_cordoned_has_no_room() -> None:
    with pytest.raises(NoRoom, match="every cluster of region local is cordoned"):
        names(new_cluster(state=ClusterState.CORDONED), new_cluster("two", region="elsewhere"))


def test_a_cluster_without_a_gateway_takes_nobody() -> None:
    old = new_cluster("old", domain="", gateway=None)
    assert names(old, new_cluster("new")) == ["new"]
    with pytest.raises(NoRoom, match="no open cluster of region local has a gateway"):
        names(old)


def test_a_full_region_names_the_weight_that_does_not_fit() -> None:
    cordoned = new_cluster("two", state=ClusterState.CORDONED)
    with pytest.raises(NoRoom, match="region local is full: no open cluster has a free weight of 2"):
        names(new_cluster(allocated=9), cordoned, weight=2)


def test_the_emptiest_cluster_by_share_comes_first() -> None:
    large = new_cluster("large", capacity=100, allocated=40)
    small = new_cluster("small", capacity=10, allocated=5)
    assert names(small, large) == ["large", "small"]
    assert names(new_cluster("small", capacity=10, allocated=3), large) == ["small", "large"]


def test_equally_empty_clusters_are_ordered_by_name() -> None:
    assert names(new_cluster("b", capacity=20), new_cluster("c"), new_cluster("a")) == ["a", "b", "c"]


def test_a_tenant_that_just_fits_is_taken() -> None:
    clusters = [new_cluster("a", allocated=9), new_cluster("b", allocated=8)]
    assert names(*clusters, weight=1) == ["b", "a"]
    assert names(*clusters, weight=2) == ["b"]


def test_a_free_slot_comes_before_an_emptier_cluster() -> None:
    assert names(new_cluster("a", starting=2), new_cluster("b", allocated=8)) == ["b", "a"]
    assert names(new_cluster("a", waiting=3), new_cluster("b", allocated=8, waiting=1, starting=2)) == ["b", "a"]


def test_a_region_that_does_not_respond_may_later() -> None:
    with pytest.raises(Transient, match="no cluster of region local that has room responds") as refused:
        names(new_cluster(breaker=BREAKER), new_cluster("two", allocated=10))
    assert refused.value.retry_after == 30


@given(st.lists(CLUSTERS, max_size=6), st.integers(1, 8))
def test_no_cluster_without_room_is_a_candidate(clusters: list[Cluster], weight: int) -> None:
    fitting = [
        cluster
        for cluster in clusters
        if cluster.region == "local"
        and cluster.state is ClusterState.OPEN
        and cluster.allocated + weight <= cluster.capacity
        and cluster.breaker is None
    ]
    try:
        found = candidates(clusters, region="local", weight=weight, max_starting=2)
    except (NoRoom, Transient):
        found = []
    assert sorted(found, key=repr) == sorted(fitting, key=repr)
    free = [cluster.waiting == 0 and cluster.starting < 2 for cluster in found]
    assert free == sorted(free, reverse=True)
    order = [
        (cluster.waiting, cluster.allocated / cluster.capacity)
        for cluster in found
        if cluster not in found[: sum(free)]
    ]
    assert order == sorted(order)
