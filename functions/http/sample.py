"""HTTP: the sample signup page, and what a portal's backend does for it: it calls the API with the function key.

A browser must not have that key, so the page asks here, where each path is one of the API's behind /api/sample. The
responses are the API's, problems too. All of this is there only with BERTH_SAMPLE_ENABLED.
"""

import azure.durable_functions as df
import azure.functions as func
from pydantic import BaseModel

from functions.current import container
from functions.http import requests
from functions.http.endpoint import endpoint, problem_document, request_path
from functions.http.operations import shown
from functions.http.pages.rendering import html, problem_page
from functions.http.pages.session import check_origin
from functions.http.problems import Problem
from functions.http.replying import accepted, caller_of
from functions.http.responses import Operation, Slug
from functions.http.route import ACCEPTED, OPERATION, Method, Parameter, Response, Route, ok
from functions.http.tenant_responses import TenantDetail
from functions.http.tenants import check_slug_is_free, tenant_detail
from functions.http.validation import read
from shared.application.sample_signups import SAMPLE
from shared.errors import Invalid

ROOT = f"/api/{SAMPLE}/"


def _route(
    method: Method,
    path: str,
    summary: str,
    answers: tuple[Response, ...],
    *parameters: Parameter,
    body: type[BaseModel] | None = None,
) -> Route:
    """Return a route that needs no key and that the API's description does not have."""
    return Route(
        method=method,
        path=f"{SAMPLE}/{path}",
        summary=summary,
        level=func.AuthLevel.ANONYMOUS,
        parameters=parameters,
        body=body,
        responses=answers,
        problems=(),
        described=False,
    )


def _as_of_the_api(req: func.HttpRequest, problem: Problem) -> func.HttpResponse:
    """Respond with the problem document that the API has for the same request."""
    return problem_document(req, problem, instance=request_path(req).replace(ROOT, "/api/", 1))


@endpoint(
    _route("GET", "signup", "Show a sample of a signup page", ok("The page.", str, media_type="text/html")),
    refuse=problem_page,
)
async def show_sample_page(req: func.HttpRequest) -> func.HttpResponse:
    """Show the form, with the plans and regions that there are."""
    container().sample.ensure_on()
    regions = sorted({cluster.region for cluster in await container().clusters.registered()})
    return html("sample_signup", session=None, plans=list(container().plans), regions=regions)


@endpoint(
    _route(
        "GET",
        "slugs/{slug}",
        "Say whether a slug is free, or why not",
        ok("The slug, free or not.", Slug),
        Parameter("path", "slug", str, "What somebody would like to have as a slug."),
    ),
    refuse=_as_of_the_api,
)
async def check_sample_slug(req: func.HttpRequest) -> func.HttpResponse:
    """Say of a slug what the API says."""
    _admit()
    return await check_slug_is_free(req)


@endpoint(
    _route("POST", "tenants", "Sign a tenant up for the sample page", (ACCEPTED,), body=requests.Signup),
    refuse=_as_of_the_api,
)
async def create_sample_tenant(req: func.HttpRequest, client: df.DurableFunctionsClient) -> func.HttpResponse:
    """Sign a tenant up, once for each idempotency key."""
    _admit()
    check_origin(req)
    signup = read(req, requests.Signup)
    if signup.version:
        raise Invalid(("/version", "leave it out: the sample signs up tenants of the default version only"))
    caller = caller_of(req, signup)
    if not caller.key:
        raise Invalid(("Idempotency-Key", "send one: the same for the same signup, so that sending it again is safe"))
    workflows = container().workflows(client)
    return accepted(await container().sample.sign_up(signup.to_domain(), caller.key, caller.fingerprint, workflows))


@endpoint(
    _route("GET", "operations/{id}", "Show a signup of the sample", ok("The operation.", Operation), OPERATION),
    refuse=_as_of_the_api,
)
async def show_sample_operation(req: func.HttpRequest) -> func.HttpResponse:
    """Show an operation that the sample began."""
    _admit()
    return await shown(await container().sample.operation(req.route_params["id"]))


@endpoint(
    _route("GET", "operations/{id}/tenant", "Show a tenant of the sample", ok("The tenant.", TenantDetail), OPERATION),
    refuse=_as_of_the_api,
)
async def show_sample_tenant(req: func.HttpRequest) -> func.HttpResponse:
    """Show the tenant of a signup to whoever knows its operation: nobody else is to read the e-mail address."""
    _admit()
    return await tenant_detail((await container().sample.tenant(req.route_params["id"])).slug)


def _admit() -> None:
    container().sample.ensure_on()
    container().sample.ensure_few_requests()
