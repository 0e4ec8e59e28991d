"""HTTP for operators: register clusters and see what is on them. Needs the host's master key."""

import azure.functions as func

from functions.current import container
from functions.http.cluster_responses import Cluster, ClusterList, Probe, RegisteredCluster
from functions.http.endpoint import endpoint
from functions.http.problems import Kind
from functions.http.replying import actor_of, cluster_name_of, json_response
from functions.http.requests import ClusterChange, ClusterRegistration
from functions.http.route import ACTOR, BODY_PROBLEMS, CLUSTER, USUAL_PROBLEMS, Route, ok
from functions.http.validation import read


@endpoint(
    Route(
        method="GET",
        path="clusters",
        summary="List the registered clusters with their allocation",
        level=func.AuthLevel.ADMIN,
        responses=ok("All clusters.", ClusterList),
        problems=USUAL_PROBLEMS,
    )
)
async def list_clusters(req: func.HttpRequest) -> func.HttpResponse:
    """List the registered clusters with their allocation."""
    clusters = await container().clusters.list()
    return json_response(ClusterList(items=tuple(Cluster.of(cluster) for cluster in clusters)))


@endpoint(
    Route(
        method="PUT",
        path="clusters/{name}",
        summary="Probe a cluster, and register it or replace its whole registration",
        level=func.AuthLevel.ADMIN,
        parameters=(CLUSTER,),
        body=ClusterRegistration,
        responses=ok("The cluster with its allocation, and what its operators should know.", RegisteredCluster),
        problems=(*BODY_PROBLEMS, Kind.CONFLICT, Kind.CLUSTER_UNFIT, *USUAL_PROBLEMS),
    )
)
async def register_cluster(req: func.HttpRequest) -> func.HttpResponse:
    """Probe a cluster, and register it or replace its whole registration."""
    name = cluster_name_of(req)
    registration = read(req, ClusterRegistration).to_domain(name)
    cluster, warnings = await container().registry.register(registration)
    return json_response(RegisteredCluster.registered(cluster, warnings))


@endpoint(
    Route(
        method="GET",
        path="clusters/{name}/probe",
        summary="Probe a registered cluster, and change nothing",
        level=func.AuthLevel.ADMIN,
        parameters=(CLUSTER,),
        responses=ok("What it lacks, and what its operators should know.", Probe),
        problems=(Kind.NOT_FOUND, *USUAL_PROBLEMS),
    )
)
async def probe_cluster(req: func.HttpRequest) -> func.HttpResponse:
    """Probe a registered cluster, and change nothing."""
    name = cluster_name_of(req)
    return json_response(Probe.of(name, await container().registry.probe(name)))


@endpoint(
    Route(
        method="DELETE",
        path="clusters/{name}",
        summary="Remove a cordoned cluster, on which no tenant is left, from berth; the cluster itself is not touched",
        level=func.AuthLevel.ADMIN,
        parameters=(CLUSTER, ACTOR),
        responses=ok("The cluster as it was.", Cluster),
        problems=(Kind.NOT_FOUND, Kind.CONFLICT, *USUAL_PROBLEMS),
    )
)
async def remove_cluster(req: func.HttpRequest) -> func.HttpResponse:
    """Remove a cluster from berth; the cluster itself is not touched."""
    cluster = await container().remove_cluster.remove(cluster_name_of(req), actor=actor_of(req))
    return json_response(Cluster.of(cluster))


@endpoint(
    Route(
        method="PATCH",
        path="clusters/{name}",
        summary="Change a cluster's state, capacity or number of instances",
        level=func.AuthLevel.ADMIN,
        parameters=(CLUSTER, ACTOR),
        body=ClusterChange,
        responses=ok("The cluster with its allocation.", Cluster),
        problems=(*BODY_PROBLEMS, Kind.NOT_FOUND, Kind.CONFLICT, *USUAL_PROBLEMS),
    )
)
async def change_cluster(req: func.HttpRequest) -> func.HttpResponse:
    """Change a cluster's state, capacity or number of instances, and nothing that another operator changes."""
    name = cluster_name_of(req)
    change = read(req, ClusterChange)
    cluster = await container().registry.change(
        name,
        state=change.state,
        capacity=change.capacity,
        max_instances=change.max_instances,
        actor=actor_of(req),
    )
    return json_response(Cluster.of(cluster))
