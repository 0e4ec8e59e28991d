"""What these tests share."""

import pytest

from shared.adapters.kubernetes.cluster import KubernetesApiCluster


@pytest.fixture
def cluster(api_cluster: KubernetesApiCluster) -> KubernetesApiCluster:
    """A cluster with a real API server."""
    return api_cluster
