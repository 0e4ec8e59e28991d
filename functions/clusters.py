"""HTTP for operators: register clusters and see what is on them. Needs the host's admin key."""

import re

import azure.functions as func

from functions.answers import Cluster, ClusterList
from functions.http import answer, with_problems
from functions.parsing import read
from functions.requests import CLUSTER_NAME, ClusterChange, ClusterRegistration
from functions.services import services
from shared.errors import Invalid

bp = func.Blueprint()


@bp.route(route="clusters", methods=["GET"], auth_level=func.AuthLevel.ADMIN)
@with_problems
async def list_clusters(req: func.HttpRequest) -> func.HttpResponse:
    """List the registered clusters with their allocation."""
    clusters = await services().clusters.list()
    return answer(ClusterList(items=tuple(Cluster.of(cluster) for cluster in clusters)))


@bp.route(route="clusters/{name}", methods=["PUT"], auth_level=func.AuthLevel.ADMIN)
@with_problems
async def register_cluster(req: func.HttpRequest) -> func.HttpResponse:
    """Register a cluster, or replace its whole registration."""
    name = _name(req)
    cluster = read(req, ClusterRegistration).to_domain(name)
    return answer(Cluster.of(await services().clusters.register(cluster)))


@bp.route(route="clusters/{name}", methods=["PATCH"], auth_level=func.AuthLevel.ADMIN)
@with_problems
async def change_cluster(req: func.HttpRequest) -> func.HttpResponse:
    """Change a cluster's state or capacity, and nothing that another operator changes at the same moment."""
    name = _name(req)
    change = read(req, ClusterChange)
    cluster = await services().registry.change(name, state=change.state, capacity=change.capacity)
    return answer(Cluster.of(cluster))


def _name(req: func.HttpRequest) -> str:
    name = req.route_params["name"]
    if not re.fullmatch(CLUSTER_NAME, name):
        raise Invalid(("", "name a cluster with 1 to 40 lower-case letters, digits and hyphens"))
    return name
