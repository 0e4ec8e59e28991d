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
    """Show the fleet by state and cluster. The other parts take longer, and are loaded after it."""
    fleet = await container().ops_overview.fleet()
    slots = container().settings.provisioning.max_concurrent
    return html("overview", session=session, fleet=fleet, states=SHOWN_STATES, slots=slots)


@page("GET", "ops/attention", "Show what needs attention")
async def show_ops_attention(req: func.HttpRequest, session: Session) -> func.HttpResponse:
    """Show what needs attention, as a part of the overview."""
    return html("_attention", session=session, attention=await container().ops_overview.attention())


@page("GET", "ops/running", "Show the operations that run")
async def show_ops_running(req: func.HttpRequest, session: Session) -> func.HttpResponse:
    """Show the operations that run, as a part of the overview."""
    return html("_running", session=session, running=await container().ops_overview.running())


@page("GET", "ops/sweeps", "Show the last sweeps")
async def show_ops_sweeps(req: func.HttpRequest, session: Session) -> func.HttpResponse:
    """Show the last sweeps, as a part of the overview."""
    return html("_sweeps", session=session, sweeps=await container().ops_overview.sweeps())


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
