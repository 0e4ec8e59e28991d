"""HTTP for operators: register clusters and see what is on them. Needs the host's admin key."""

import re

import azure.functions as func

from functions.http import answer, read, with_problems
from functions.models import ClusterChange, ClusterRegistration, cluster_json
from functions.services import services
from shared.errors import Invalid

bp = func.Blueprint()
_NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,38}[a-z0-9])?")


@bp.route(route="clusters", methods=["GET"], auth_level=func.AuthLevel.ADMIN)
@with_problems
async def list_clusters(req: func.HttpRequest) -> func.HttpResponse:
    """List the registered clusters with their allocation."""
    clusters = await services().clusters.list()
    return answer({"items": [cluster_json(cluster) for cluster in clusters]})


@bp.route(route="clusters/{name}", methods=["PUT"], auth_level=func.AuthLevel.ADMIN)
@with_problems
async def register_cluster(req: func.HttpRequest) -> func.HttpResponse:
    """Register a cluster, or replace its whole registration."""
    name = _name(req)
    cluster = read(req, ClusterRegistration).to_domain(name)
    return answer(cluster_json(await services().clusters.register(cluster)))


@bp.route(route="clusters/{name}", methods=["PATCH"], auth_level=func.AuthLevel.ADMIN)
@with_problems
async def change_cluster(req: func.HttpRequest) -> func.HttpResponse:
    """Change a cluster's state or capacity, and nothing that another operator changes at the same moment."""
    name = _name(req)
    change = read(req, ClusterChange)
    cluster = await services().registry.change(name, state=change.state, capacity=change.capacity)
    return answer(cluster_json(cluster))


def _name(req: func.HttpRequest) -> str:
    name = req.route_params["name"]
    if not _NAME.fullmatch(name):
        raise Invalid(("", "name a cluster with 1 to 40 lower-case letters, digits and hyphens"))
    return name
