"""What operators do to a tenant: the same use cases as those of the API, behind forms."""

import azure.durable_functions as df
import azure.functions as func
from pydantic import ValidationError

from functions.current import container
from functions.http.pages.forms import form_caller
from functions.http.pages.page import page
from functions.http.pages.rendering import redirect
from functions.http.pages.session import Session, form_of
from functions.http.pages.tenants import PATH
from functions.http.replying import slug_of
from functions.http.requests import Retry
from functions.http.route import TENANT
from shared.domain.slugs import Slug
from shared.errors import Invalid

PAGE = "ops/tenants/{slug}"  # which has all forms of these


@page("POST", "ops/tenants/{slug}/sleep", "Put a tenant to sleep", (TENANT,), back=PAGE)
async def ops_sleep_tenant(
    req: func.HttpRequest, session: Session, client: df.DurableFunctionsClient
) -> func.HttpResponse:
    """Start to put a tenant to sleep."""
    slug, caller = slug_of(req), form_caller(req, session)
    await container().sleep.sleep(slug, caller, container().workflows(client))
    return _back_to(slug)


@page("POST", "ops/tenants/{slug}/wake", "Wake a tenant", (TENANT,), back=PAGE)
async def ops_wake_tenant(
    req: func.HttpRequest, session: Session, client: df.DurableFunctionsClient
) -> func.HttpResponse:
    """Start to wake a tenant; a hibernation that is under way is turned round."""
    slug, caller = slug_of(req), form_caller(req, session)
    await container().wake.wake(slug, caller, container().workflows(client))
    return _back_to(slug)


@page("POST", "ops/tenants/{slug}/retry", "Retry a failed tenant", (TENANT,), back=PAGE, keeps=("version",))
async def ops_retry_tenant(
    req: func.HttpRequest, session: Session, client: df.DurableFunctionsClient
) -> func.HttpResponse:
    """Provision a failed tenant once more, with another version if the form has one."""
    slug, caller, version = slug_of(req), form_caller(req, session), form_of(req).get("version", "")
    await container().retry.retry(slug, _checked(version), caller, container().workflows(client))
    return _back_to(slug)


@page("POST", "ops/tenants/{slug}/cancel", "Cancel a tenant's operation", (TENANT,), back=PAGE)
async def ops_cancel_operation(
    req: func.HttpRequest, session: Session, client: df.DurableFunctionsClient
) -> func.HttpResponse:
    """Ask the operation that the form names to end and to undo what it did."""
    slug, caller, operation_id = slug_of(req), form_caller(req, session), form_of(req).get("operation", "")
    await container().cancel.cancel(operation_id, caller, container().workflows(client))
    return _back_to(slug)


@page("POST", "ops/tenants/{slug}/delete", "Delete a tenant", (TENANT,), back=PAGE, keeps=("slug",))
async def ops_delete_tenant(
    req: func.HttpRequest, session: Session, client: df.DurableFunctionsClient
) -> func.HttpResponse:
    """Start to remove a tenant, whose slug has to be typed."""
    slug, caller = slug_of(req), form_caller(req, session)
    if form_of(req).get("slug", "").strip() != slug:
        raise Invalid(("slug", f"type {slug} to delete this tenant; nothing was done"))
    await container().delete.delete(slug, caller, container().workflows(client))
    return _back_to(slug)


def _checked(version: str) -> str:
    try:
        return Retry(version=version).version if version else ""
    except ValidationError:
        raise Invalid(("version", "give the tag of an image, such as 1.4.2, or leave it empty")) from None


def _back_to(slug: Slug) -> func.HttpResponse:
    return redirect(f"{PATH}/{slug}")
