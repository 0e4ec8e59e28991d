"""The nodes of a real API server, by their machines."""

import json

from local.kubernetes.control_plane import ControlPlane, kubectl
from shared.adapters.kubernetes.cluster import KubernetesApiCluster
from shared.domain.assets import Nodes

MACHINE, PRIORITY = "node.kubernetes.io/instance-type", "kubernetes.azure.com/scalesetpriority"


async def test_nodes_are_counted_by_machine(cluster: KubernetesApiCluster, control_plane: ControlPlane) -> None:
    before = await cluster.nodes()
    labels = [
        {MACHINE: "Standard_D4as_v7"},
        {MACHINE: "Standard_D4as_v7"},
        {MACHINE: "Standard_D4as_v7", PRIORITY: "spot"},
    ]
    nodes = [
        {"apiVersion": "v1", "kind": "Node", "metadata": {"name": f"counted-{number}", "labels": each}}
        for number, each in enumerate(labels)
    ]
    manifest = json.dumps({"apiVersion": "v1", "kind": "List", "items": nodes})
    await kubectl(control_plane, "create", "-f", "-", stdin=manifest)
    try:
        assert await cluster.nodes() == [
            *before,
            Nodes("Standard_D4as_v7", spot=False, count=2),
            Nodes("Standard_D4as_v7", spot=True, count=1),
        ]
        assert [each.machine for each in before] == [""]
    finally:
        await kubectl(control_plane, "delete", "-f", "-", stdin=manifest)
