"""HTTP: sign up, list, show, retry, delete and forget tenants."""

import azure.durable_functions as df
import azure.functions as func

from functions.current import container
from functions.http import requests
from functions.http.endpoint import endpoint
from functions.http.problems import Kind
from functions.http.replying import accepted, caller_of, json_response, page_of
from functions.http.responses import AuditPage, Slug, Tenant, TenantPage
from functions.http.route import (
    ACCEPTED,
    ACTOR,
    BODY_PROBLEMS,
    KEY,
    LIMIT,
    NEXT,
    TENANT,
    USUAL_PROBLEMS,
    Parameter,
    Route,
    ok,
)
from functions.http.validation import read
from shared.application.ports.tenants import TenantFilter
from shared.domain import slugs
from shared.domain.lifecycle import TenantState
from shared.errors import NotFound


@endpoint(
    Route(
        method="GET",
        path="slugs/{slug}",
        summary="Say whether a slug is free, or why not",
        parameters=(Parameter("path", "slug", str, "What somebody would like to have as a slug."),),
        responses=ok("The slug, free or not.", Slug),
        problems=USUAL_PROBLEMS,
    )
)
async def check_slug_is_free(req: func.HttpRequest) -> func.HttpResponse:
    """Say whether a slug is free, or why not."""
    slug = req.route_params["slug"]
    problem = await container().signup.slug_problem(slug)
    return json_response(Slug(slug=slug, free=problem is None, reason=problem or ""))


@endpoint(
    Route(
        method="POST",
        path="tenants",
        summary="Take a slug and start to provision its tenant",
        parameters=(KEY, ACTOR),
        body=requests.Signup,
        responses=(ACCEPTED,),
        problems=(*BODY_PROBLEMS, Kind.KEY_REUSED, Kind.CONFLICT, Kind.NO_ROOM, Kind.QUEUE_FULL, *USUAL_PROBLEMS),
    )
)
async def create_tenant(req: func.HttpRequest, client: df.DurableFunctionsClient) -> func.HttpResponse:
    """Take a slug and start to provision its tenant."""
    signup = read(req, requests.Signup)
    workflows = container().workflows(client)
    return accepted(await container().signup.sign_up(signup.to_domain(), caller_of(req, signup), workflows))


@endpoint(
    Route(
        method="GET",
        path="tenants",
        summary="List tenants",
        parameters=(
            Parameter("query", "state", TenantState, "Only those in this state."),
            Parameter("query", "plan", requests.PlanName, "Only those of this plan."),
            Parameter("query", "cluster", requests.ClusterName, "Only those on this cluster."),
            Parameter("query", "region", requests.Region, "Only those of this region."),
            LIMIT,
            NEXT,
        ),
        responses=ok("A part of the list.", TenantPage),
        problems=USUAL_PROBLEMS,
    )
)
async def list_tenants(req: func.HttpRequest) -> func.HttpResponse:
    """List tenants, filtered by state, plan, cluster and region; `next` continues a list."""
    wanted = TenantFilter(**{name: req.params.get(name, "") for name in TenantFilter.__dataclass_fields__})
    page = await page_of(req, lambda limit, token: container().tenants.list(wanted, limit=limit, token=token))
    return json_response(TenantPage.of(page, await container().clusters.registered()))


@endpoint(
    Route(
        method="GET",
        path="tenants/{slug}",
        summary="Show one tenant",
        parameters=(TENANT,),
        responses=ok("The tenant as it is recorded.", Tenant),
        problems=(Kind.NOT_FOUND, *USUAL_PROBLEMS),
    )
)
async def show_tenant(req: func.HttpRequest) -> func.HttpResponse:
    """Show one tenant."""
    stored = await container().tenants.get(_slug(req))
    return json_response(Tenant.of(stored.value, await container().clusters.registered()))


@endpoint(
    Route(
        method="GET",
        path="tenants/{slug}/audit",
        summary="List a tenant's changes, newest first",
        parameters=(TENANT, LIMIT, NEXT),
        responses=ok("A part of the list.", AuditPage),
        problems=(Kind.NOT_FOUND, *USUAL_PROBLEMS),
    )
)
async def show_audit(req: func.HttpRequest) -> func.HttpResponse:
    """List a tenant's changes, newest first; `next` continues the list."""
    slug = _slug(req)
    page = await page_of(req, lambda limit, token: container().history.audit(slug, limit=limit, token=token))
    return json_response(AuditPage.of(page))


@endpoint(
    Route(
        method="POST",
        path="tenants/{slug}/retry",
        summary="Provision a failed tenant once more",
        parameters=(TENANT, KEY, ACTOR),
        body=requests.Retry,
        body_required=False,
        responses=(ACCEPTED,),
        problems=(
            *BODY_PROBLEMS,
            Kind.KEY_REUSED,
            Kind.NOT_FOUND,
            Kind.CONFLICT,
            Kind.NO_ROOM,
            Kind.QUEUE_FULL,
            *USUAL_PROBLEMS,
        ),
    )
)
async def retry_tenant(req: func.HttpRequest, client: df.DurableFunctionsClient) -> func.HttpResponse:
    """Provision a failed tenant once more."""
    body = read(req, requests.Retry) if req.get_body() else requests.Retry()
    workflows = container().workflows(client)
    return accepted(await container().retry.retry(_slug(req), body.version, caller_of(req, body), workflows))


@endpoint(
    Route(
        method="DELETE",
        path="tenants/{slug}",
        summary="Start to remove a tenant",
        parameters=(TENANT, KEY, ACTOR),
        responses=(ACCEPTED,),
        problems=(Kind.KEY_REUSED, Kind.NOT_FOUND, Kind.CONFLICT, *USUAL_PROBLEMS),
    )
)
async def delete_tenant_request(req: func.HttpRequest, client: df.DurableFunctionsClient) -> func.HttpResponse:
    """Start to remove a tenant."""
    workflows = container().workflows(client)
    return accepted(await container().delete.delete(_slug(req), caller_of(req), workflows))


@endpoint(
    Route(
        method="POST",
        path="tenants/{slug}/forget",
        summary="Forget an instance that cannot be removed, and end the operation on it",
        level=func.AuthLevel.ADMIN,
        parameters=(TENANT, ACTOR),
        body=requests.Forget,
        responses=ok("The tenant without its instance: failed, or deleted if it was being deleted.", Tenant),
        problems=(*BODY_PROBLEMS, Kind.NOT_FOUND, Kind.CONFLICT, *USUAL_PROBLEMS),
    )
)
async def forget_tenant(req: func.HttpRequest, client: df.DurableFunctionsClient) -> func.HttpResponse:
    """Forget an instance that cannot be removed. An operator's last resort; needs the host's master key."""
    body = read(req, requests.Forget)
    workflows = container().workflows(client)
    tenant = await container().forget.forget(_slug(req), body.reason, caller_of(req, body), workflows)
    return json_response(Tenant.of(tenant, await container().clusters.registered()))


def _slug(req: func.HttpRequest) -> slugs.Slug:
    slug = req.route_params["slug"]
    if slugs.check_slug(slug) is not None:
        raise NotFound("there is no such tenant: its name is not one that a tenant can have")
    return slugs.Slug(slug)
