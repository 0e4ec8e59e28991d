"""The overview: the fleet at a glance, and its parts that are loaded on their own."""

from decimal import Decimal

import azure.functions as func

from functions.current import container
from functions.http.pages.figures import figures, latency_rows
from functions.http.pages.page import page
from functions.http.pages.rendering import html
from functions.http.pages.session import Session
from shared.domain.lifecycle import TenantState

SHOWN_STATES = (TenantState.ACTIVE, TenantState.HIBERNATED, TenantState.FAILED)  # the others are operations that run


@page("GET", "ops", "Show the fleet at a glance")
async def show_ops_overview(req: func.HttpRequest, session: Session) -> func.HttpResponse:
    """Show the fleet, what runs, what needs attention, and the last sweeps; trends are loaded after it."""
    settings = container().settings
    found = await container().ops_overview.overview()
    return html(
        "overview",
        session=session,
        found=found,
        running=found.running,
        states=SHOWN_STATES,
        slots=settings.provisioning.max_concurrent,
    )


@page("GET", "ops/running", "Show the operations that run")
async def show_ops_running(req: func.HttpRequest, session: Session) -> func.HttpResponse:
    """Show the operations that run, as a part of the overview."""
    return html("_running", session=session, running=await container().ops_overview.running())


@page("GET", "ops/trends", "Show how latency and costs have changed")
async def show_ops_trends(req: func.HttpRequest, session: Session) -> func.HttpResponse:
    """Show latency and costs over time, as a part of the overview."""
    settings, currency = container().settings.costs, container().currency
    trends = await container().ops_overview.trends()
    goal, former = Decimal(str(settings.goal)), Decimal(str(settings.former))
    return html(
        "_trends",
        session=session,
        trends=trends,
        figures=figures(trends, goal=goal, former=former, currency=currency),
        latency=latency_rows(trends.latency),
        goal=goal,
        currency=currency,
    )
