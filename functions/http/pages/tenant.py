"""One tenant: what it is, what happens to it, what it cost, who changed it."""

from collections.abc import Mapping
from datetime import timedelta
from decimal import Decimal

import azure.functions as func

from functions.current import container
from functions.http.pages.page import page
from functions.http.pages.rendering import html
from functions.http.pages.session import Session, is_from_here
from functions.http.pages.tenant_costs import CostSummary
from functions.http.pages.timeline import Bar
from functions.http.replying import page_of, slug_of
from functions.http.route import NEXT, TENANT, Parameter

TYPED = {"version": "To retry with, as it was typed.", "slug": "To confirm a deletion, as it was typed."}
"""What the page of an error leads back with."""
SHOWN = 100  # changes of one page
COST_DAYS = 30


@page(
    "GET",
    "ops/tenants/{slug}",
    "Show a tenant",
    (TENANT, *(Parameter("query", name, str, description) for name, description in TYPED.items())),
)
async def show_ops_tenant(req: func.HttpRequest, session: Session) -> func.HttpResponse:
    """Show a tenant; what it cost is loaded after it."""
    found = await container().tenant_overviews.overview(slug_of(req))
    typed: Mapping[str, str] = req.params if is_from_here(req) else {}  # a link from elsewhere fills in nothing
    return html(
        "tenant",
        session=session,
        found=found,
        progress=found.progress,
        tenant=found.progress.tenant,
        bar=Bar.of(found.stays),
        typed={name: typed.get(name, "") for name in TYPED},
        polled=False,
    )


@page("GET", "ops/tenants/{slug}/operation", "Show how far a tenant's operation is", (TENANT,))
async def show_ops_tenant_operation(req: func.HttpRequest, session: Session) -> func.HttpResponse:
    """Show a tenant's present or last operation, as a part of its page."""
    progress = await container().tenant_overviews.progress(slug_of(req))
    return html("_operation", session=session, progress=progress, polled=True)


@page("GET", "ops/tenants/{slug}/costs", "Show what a tenant cost", (TENANT,))
async def show_ops_tenant_costs(req: func.HttpRequest, session: Session) -> func.HttpResponse:
    """Show what a tenant cost by day and component, this month, and against the goal."""
    slug, today, currency = slug_of(req), container().clock.now().date(), container().currency
    first = min(today.replace(day=1), today - timedelta(days=COST_DAYS - 1))
    lines = await container().report_costs.of_tenant(slug, first, today, by_month=False)
    goal = Decimal(str(container().settings.costs.goal))
    costs = CostSummary.of(lines, today, goal=goal, currency=currency)
    return html("tenant_costs", session=session, slug=slug, costs=costs, currency=currency)


@page("GET", "ops/tenants/{slug}/audit", "List a tenant's changes", (TENANT, NEXT))
async def show_ops_tenant_audit(req: func.HttpRequest, session: Session) -> func.HttpResponse:
    """List a tenant's changes, newest first."""
    slug = slug_of(req)
    found = await page_of(
        req, lambda limit, token: container().history.audit(slug, limit=limit, token=token), limit=SHOWN
    )
    return html("tenant_audit", session=session, slug=slug, audit=found)
