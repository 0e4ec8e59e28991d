"""HTTP: sign up, list, show, retry, put to sleep, wake, delete and forget tenants."""

import azure.durable_functions as df
import azure.functions as func

from functions.current import container
from functions.http import requests
from functions.http.endpoint import endpoint
from functions.http.problems import Kind
from functions.http.replying import accepted, actor_of, caller_of, json_response, page_of, slug_of
from functions.http.responses import Slug
from functions.http.route import (
    ACCEPTED,
    ACTOR,
    BODY_PROBLEMS,
    KEY,
    LIMIT,
    NEXT,
    OPERATION_PROBLEMS,
    TENANT,
    USUAL_PROBLEMS,
    Parameter,
    Route,
    ok,
)
from functions.http.tenant_responses import AuditPage, Dormancy, Policy, Signal, TenantDetail, TenantPage
from functions.http.validation import read
from shared.application.ports.tenants import TenantFilter
from shared.domain import slugs, tenants
from shared.domain.lifecycle import TenantState
from shared.domain.operations import Operation


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
        summary="List tenants, in a fixed order that is not by slug",
        parameters=(
            Parameter("query", "state", TenantState, "Only those in this state."),
            Parameter("query", "plan", requests.PlanName, "Only those of this plan."),
            Parameter("query", "cluster", requests.ClusterName, "Only those on this cluster."),
            Parameter("query", "region", requests.Region, "Only those of this region."),
            Parameter("query", "prefix", requests.SlugPrefix, "Only those whose slug begins so."),
            LIMIT,
            NEXT,
        ),
        responses=ok("A part of the list.", TenantPage),
        problems=USUAL_PROBLEMS,
    )
)
async def list_tenants(req: func.HttpRequest) -> func.HttpResponse:
    """List tenants, filtered by state, plan, cluster, region and the beginning of the slug; `next` continues a list."""
    wanted = TenantFilter(**{name: req.params.get(name, "") for name in TenantFilter.__dataclass_fields__})
    page = await page_of(req, lambda limit, token: container().tenants.list(wanted, limit=limit, token=token))
    return json_response(TenantPage.of(page, await container().clusters.registered()))


@endpoint(
    Route(
        method="GET",
        path="tenants/{slug}",
        summary="Show one tenant",
        parameters=(TENANT,),
        responses=ok("The tenant as it is recorded.", TenantDetail),
        problems=(Kind.NOT_FOUND, *USUAL_PROBLEMS),
    )
)
async def show_tenant(req: func.HttpRequest) -> func.HttpResponse:
    """Show one tenant."""
    return await tenant_detail(slug_of(req))


@endpoint(
    Route(
        method="PUT",
        path="tenants/{slug}/policy",
        summary="Set when one tenant counts as dormant, against its plan",
        parameters=(TENANT, ACTOR),
        body=requests.PolicyOverride,
        responses=ok("The tenant with the policy in effect.", TenantDetail),
        problems=(*BODY_PROBLEMS, Kind.NOT_FOUND, Kind.CONFLICT, *USUAL_PROBLEMS),
    )
)
async def set_tenant_policy(req: func.HttpRequest) -> func.HttpResponse:
    """Set when one tenant counts as dormant; what is left out, or null, is as its plan says."""
    override = read(req, requests.PolicyOverride).to_domain()
    tenant = await container().change_policy.change(slug_of(req), override, actor_of(req))
    return await tenant_detail(tenant.slug)


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
    slug = slug_of(req)
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
        problems=(*BODY_PROBLEMS, *OPERATION_PROBLEMS, Kind.NO_ROOM, Kind.QUEUE_FULL),
    )
)
async def retry_tenant(req: func.HttpRequest, client: df.DurableFunctionsClient) -> func.HttpResponse:
    """Provision a failed tenant once more."""
    body = read(req, requests.Retry) if req.get_body() else requests.Retry()
    workflows = container().workflows(client)
    return accepted(await container().retry.retry(slug_of(req), body.version, caller_of(req, body), workflows))


@endpoint(
    Route(
        method="POST",
        path="tenants/{slug}/sleep",
        summary="Start to stop an active tenant; its volume stays. Asking again is safe, without a key too",
        parameters=(TENANT, KEY, ACTOR),
        responses=(ACCEPTED, *ok("Nothing to do: the tenant sleeps already.", TenantDetail)),
        problems=OPERATION_PROBLEMS,
    )
)
async def put_tenant_to_sleep(req: func.HttpRequest, client: df.DurableFunctionsClient) -> func.HttpResponse:
    """Start to put an active tenant to sleep."""
    workflows = container().workflows(client)
    return await _begun(await container().sleep.sleep(slug_of(req), caller_of(req), workflows))


@endpoint(
    Route(
        method="POST",
        path="tenants/{slug}/wake",
        summary="Start to run a tenant again that sleeps. However many ask, it is one operation, without a key too",
        parameters=(TENANT, KEY, ACTOR),
        responses=(ACCEPTED, *ok("Nothing to do: the tenant is active already.", TenantDetail)),
        problems=(*OPERATION_PROBLEMS, Kind.NO_ROOM),
    )
)
async def start_to_wake_tenant(req: func.HttpRequest, client: df.DurableFunctionsClient) -> func.HttpResponse:
    """Start to wake a tenant; a hibernation that is under way is turned round."""
    workflows = container().workflows(client)
    return await _begun(await container().wake.wake(slug_of(req), caller_of(req), workflows))


@endpoint(
    Route(
        method="DELETE",
        path="tenants/{slug}",
        summary="Start to remove a tenant",
        parameters=(TENANT, KEY, ACTOR),
        responses=(ACCEPTED,),
        problems=OPERATION_PROBLEMS,
    )
)
async def delete_tenant_request(req: func.HttpRequest, client: df.DurableFunctionsClient) -> func.HttpResponse:
    """Start to remove a tenant."""
    workflows = container().workflows(client)
    return accepted(await container().delete.delete(slug_of(req), caller_of(req), workflows))


@endpoint(
    Route(
        method="POST",
        path="tenants/{slug}/forget",
        summary="Forget an instance that cannot be removed, and end the operation on it",
        level=func.AuthLevel.ADMIN,
        parameters=(TENANT, ACTOR),
        body=requests.Forget,
        responses=ok("The tenant without its instance: failed, or deleted if it was being deleted.", TenantDetail),
        problems=(*BODY_PROBLEMS, Kind.NOT_FOUND, Kind.CONFLICT, *USUAL_PROBLEMS),
    )
)
async def forget_tenant(req: func.HttpRequest, client: df.DurableFunctionsClient) -> func.HttpResponse:
    """Forget an instance that cannot be removed. An operator's last resort; needs the host's master key."""
    body = read(req, requests.Forget)
    workflows = container().workflows(client)
    tenant = await container().forget.forget(slug_of(req), body.reason, caller_of(req, body), workflows)
    return await tenant_detail(tenant.slug)


async def tenant_detail(slug: slugs.Slug) -> func.HttpResponse:
    """Respond with all about one tenant."""
    status, now = await container().dormancy.status(slug), container().clock.now()
    detail = TenantDetail.of(
        status.tenant,
        await container().clusters.registered(),
        policy=status.policy and Policy.of(status.tenant, status.policy),
        activity=tuple(Signal.of(each, now) for each in status.signals),
        dormancy=status.decision and Dormancy.of(status.decision),
    )
    return json_response(detail)


async def _begun(result: Operation | tenants.Tenant) -> func.HttpResponse:
    if isinstance(result, Operation):
        return accepted(result)
    return await tenant_detail(result.slug)
