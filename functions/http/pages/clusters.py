"""One cluster: what fits on it, whether it responds, what was found on it, and whether it takes new tenants."""

from contextlib import suppress

import azure.functions as func

from functions.current import container
from functions.http.pages.page import page
from functions.http.pages.rendering import html, redirect
from functions.http.pages.session import Session, form_of
from functions.http.replying import cluster_name_of
from functions.http.route import CLUSTER
from shared.domain.clusters import ClusterState
from shared.domain.reconciliation import FindingState
from shared.errors import Invalid, NotFound

MAX_FINDINGS = 100


@page("GET", "ops/clusters/{name}", "Show a cluster", (CLUSTER,))
async def show_ops_cluster(req: func.HttpRequest, session: Session) -> func.HttpResponse:
    """Show a cluster with what reconciliation has found on it."""
    cluster = (await container().clusters.get(cluster_name_of(req))).value
    found = await container().findings.list(FindingState.OPEN, limit=MAX_FINDINGS, token="", cluster=cluster.name)
    return html(
        "cluster",
        session=session,
        cluster=cluster,
        slots=container().settings.provisioning.max_concurrent,
        compared=await container().findings.states(),
        findings=found.items,
        more_findings=bool(found.next_token),
    )


@page("POST", "ops/clusters/{name}/remove", "Remove a cluster from berth", (CLUSTER,), back="ops/clusters/{name}")
async def ops_remove_cluster(req: func.HttpRequest, session: Session) -> func.HttpResponse:
    """Remove a cluster from berth, if its name was typed."""
    name = cluster_name_of(req)
    if form_of(req).get("name") != name:
        raise Invalid(("name", f"type {name} to remove this cluster; nothing was done"))
    with suppress(NotFound):  # it is removed already, by the first click of two
        await container().remove_cluster.remove(name, actor=session.actor)
    return redirect("/api/ops")


@page("POST", "ops/clusters/{name}/state", "Cordon a cluster, or open it again", (CLUSTER,), back="ops/clusters/{name}")
async def ops_change_cluster(req: func.HttpRequest, session: Session) -> func.HttpResponse:
    """Let a cluster take new tenants, or no more; its tenants stay."""
    name, state = cluster_name_of(req), form_of(req).get("state", "")
    if state not in list(ClusterState):
        raise Invalid(("state", f"give one of: {', '.join(ClusterState)}"))
    await container().registry.change(name, state=ClusterState(state), capacity=None, actor=session.actor)
    return redirect(f"/api/ops/clusters/{name}")
