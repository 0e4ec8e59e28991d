"""HTTP: sign up, list, show and delete tenants."""

import azure.durable_functions as df
import azure.functions as func

from functions.answers import AuditPage, Slug, Tenant, TenantPage
from functions.http import accepted, answer, caller_of, page_size, with_problems
from functions.parsing import read
from functions.requests import Retry, Signup
from functions.services import services
from shared.application.ports import TenantFilter
from shared.domain.naming import check_slug
from shared.errors import Invalid, NotFound

bp = df.Blueprint()


@bp.route(route="tenants", methods=["POST"])
@bp.durable_client_input(client_name="client")
@with_problems
async def create_tenant(req: func.HttpRequest, client: df.DurableFunctionsClient) -> func.HttpResponse:
    """Take a slug and start to provision its tenant."""
    signup = read(req, Signup)
    workflows = services().workflows(client)
    return accepted(await services().lifecycle.sign_up(signup.to_domain(), caller_of(req, signup), workflows))


@bp.route(route="tenants/{slug}", methods=["DELETE"])
@bp.durable_client_input(client_name="client")
@with_problems
async def delete_tenant_request(req: func.HttpRequest, client: df.DurableFunctionsClient) -> func.HttpResponse:
    """Start to remove a tenant."""
    workflows = services().workflows(client)
    return accepted(await services().lifecycle.delete(_slug(req), caller_of(req), workflows))


@bp.route(route="tenants/{slug}/retry", methods=["POST"])
@bp.durable_client_input(client_name="client")
@with_problems
async def retry_tenant(req: func.HttpRequest, client: df.DurableFunctionsClient) -> func.HttpResponse:
    """Provision a failed tenant once more."""
    retry = read(req, Retry) if req.get_body() else Retry()
    workflows = services().workflows(client)
    return accepted(await services().lifecycle.retry(_slug(req), retry.version, caller_of(req, retry), workflows))


@bp.route(route="tenants", methods=["GET"])
@with_problems
async def list_tenants(req: func.HttpRequest) -> func.HttpResponse:
    """List tenants, filtered by state, plan, cluster and region; `next` continues a list."""
    wanted = TenantFilter(**{name: req.params.get(name, "") for name in TenantFilter.__dataclass_fields__})
    try:
        page = await services().records.list(wanted, limit=page_size(req), token=req.params.get("next", ""))
    except ValueError as error:
        raise Invalid(("?next", str(error))) from error
    return answer(TenantPage.of(page, domain=services().settings.tenants.domain))


@bp.route(route="tenants/{slug}", methods=["GET"])
@with_problems
async def show_tenant(req: func.HttpRequest) -> func.HttpResponse:
    """Show one tenant."""
    stored = await services().records.get(_slug(req))
    return answer(Tenant.of(stored.value, domain=services().settings.tenants.domain))


@bp.route(route="tenants/{slug}/audit", methods=["GET"])
@with_problems
async def show_audit(req: func.HttpRequest) -> func.HttpResponse:
    """List a tenant's changes, newest first; `next` continues the list."""
    slug = _slug(req)
    try:
        page = await services().records.audit(slug, limit=page_size(req), token=req.params.get("next", ""))
    except ValueError as error:
        raise Invalid(("?next", str(error))) from error
    return answer(AuditPage.of(page))


@bp.route(route="slugs/{slug}", methods=["GET"])
@with_problems
async def check_slug_is_free(req: func.HttpRequest) -> func.HttpResponse:
    """Say whether a slug is free, or why not."""
    slug = req.route_params["slug"]
    problem = await services().lifecycle.slug_problem(slug)
    return answer(Slug(slug=slug, free=problem is None, reason=problem or ""))


def _slug(req: func.HttpRequest) -> str:
    slug = req.route_params["slug"]
    if check_slug(slug) is not None:
        raise NotFound("there is no such tenant: its name is not one that a tenant can have")
    return slug
