"""Placement: which clusters may take a tenant, and in which order."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.domain.clusters import Cluster, ClusterState
from shared.domain.placement import candidates
from shared.errors import NoRoom
from tests.support.builders import new_cluster

CLUSTERS = st.builds(
    new_cluster,
    st.text("abc", min_size=1, max_size=3),
    region=st.sampled_from(["local", "elsewhere"]),
    capacity=st.integers(1, 20),
    allocated=st.integers(0, 25),
    state=st.sampled_from(ClusterState),
)


def names(*clusters: Cluster, weight: int = 1) -> list[str]:
    return [cluster.name for cluster in candidates(clusters, region="local", weight=weight)]


def test_a_region_without_a_cluster_has_no_room() -> None:
    with pytest.raises(NoRoom, match="no cluster is registered for region local"):
        names(new_cluster(region="elsewhere"))


def test_a_region_with_every_cluster_cordoned_has_no_room() -> None:
    with pytest.raises(NoRoom, match="every cluster of region local is cordoned"):
        names(new_cluster(state=ClusterState.CORDONED), new_cluster("two", region="elsewhere"))


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


@given(st.lists(CLUSTERS, max_size=6), st.integers(1, 8))
def test_no_cluster_without_room_is_a_candidate(clusters: list[Cluster], weight: int) -> None:
    fitting = [
        cluster
        for cluster in clusters
        if cluster.region == "local"
        and cluster.state is ClusterState.OPEN
        and cluster.allocated + weight <= cluster.capacity
    ]
    try:
        found = candidates(clusters, region="local", weight=weight)
    except NoRoom:
        found = []
    assert sorted(found, key=repr) == sorted(fitting, key=repr)
    shares = [cluster.allocated / cluster.capacity for cluster in found]
    assert shares == sorted(shares)
