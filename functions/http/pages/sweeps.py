"""Sweeps, what they decided, and the switches of what berth does on its own."""

from urllib.parse import urlencode

import azure.durable_functions as df
import azure.functions as func

from functions.current import container
from functions.http.pages.page import page
from functions.http.pages.rendering import html, redirect
from functions.http.pages.session import Session, form_of
from functions.http.pages.switches import switches
from functions.http.replying import page_of
from functions.http.route import LIMIT, NEXT, SWEEP, Parameter
from shared.domain.dormancy import Outcome
from shared.errors import Invalid

PATH = "/api/ops/sweeps"
SHOWN = 20  # sweeps of one page


@page("GET", "ops/sweeps", "List the sweeps, and the switches", (NEXT,))
async def show_ops_sweeps(req: func.HttpRequest, session: Session) -> func.HttpResponse:
    """List the sweeps, newest first, with the switches."""
    found = await page_of(
        req, lambda limit, token: container().sweep_records.list(limit=limit, token=token), limit=SHOWN
    )
    settings = container().settings
    return html(
        "sweeps",
        session=session,
        sweeps=found.items,
        next_token=found.next_token,
        enabled=await container().sweeps.is_enabled(),
        may_be_enabled=settings.sweep.enabled,
        nightly=bool(settings.activity.required),
        switches=switches(settings),
    )


@page("POST", "ops/sweeps", "Start a sweep", back="ops/sweeps")
async def ops_start_sweep(
    req: func.HttpRequest, session: Session, client: df.DurableFunctionsClient
) -> func.HttpResponse:
    """Start a sweep, or join the one that runs; it is a dry run unless the form says otherwise."""
    dry_run = _chosen(req, "dry_run")
    workflows = container().workflows(client)
    sweep = await container().sweeps.start(dry_run=dry_run, actor=session.actor, workflows=workflows)
    return redirect(f"{PATH}/{sweep.id}")


@page("POST", "ops/sweep-switch", "Switch sweeps on or off", back="ops/sweeps")
async def ops_switch_sweeps(req: func.HttpRequest, session: Session) -> func.HttpResponse:
    """Switch sweeps on or off."""
    await container().sweeps.switch(enabled=_chosen(req, "enabled"), actor=session.actor)
    return redirect(PATH)


@page(
    "GET",
    "ops/sweeps/{id}",
    "Show a sweep with what it decided",
    (SWEEP, Parameter("query", "outcome", Outcome, "Only those with this outcome."), LIMIT, NEXT),
)
async def show_ops_sweep(req: func.HttpRequest, session: Session) -> func.HttpResponse:
    """Show a sweep, and a part of what it decided, by slug."""
    sweep = await container().sweeps.get(req.route_params["id"])
    outcome = Outcome(req.params["outcome"]) if "outcome" in req.params else None
    found = await page_of(
        req,
        lambda limit, token: container().sweep_records.decisions(sweep.id, outcome, limit=limit, token=token),
    )
    kept = {name: req.params[name] for name in ("outcome", "limit") if name in req.params}
    return html(
        "sweep",
        session=session,
        sweep=sweep,
        decisions=found.items,
        further=urlencode({**kept, "next": found.next_token}) if found.next_token else "",
        outcome=outcome,
        outcomes=list(Outcome),
        polled=False,
    )


@page("GET", "ops/sweeps/{id}/progress", "Show how far a sweep is", (SWEEP,))
async def show_ops_sweep_progress(req: func.HttpRequest, session: Session) -> func.HttpResponse:
    """Show how far a sweep is, as a part of its page."""
    sweep = await container().sweeps.get(req.route_params["id"])
    return html("_sweep", session=session, sweep=sweep, polled=True)


@page("POST", "ops/sweeps/{id}/stop", "Let a sweep end before its next action", (SWEEP,), back="ops/sweeps/{id}")
async def ops_stop_sweep(req: func.HttpRequest, session: Session) -> func.HttpResponse:
    """Let a sweep end before its next action."""
    sweep = await container().sweeps.stop(req.route_params["id"], session.actor)
    return redirect(f"{PATH}/{sweep.id}")


def _chosen(req: func.HttpRequest, name: str) -> bool:
    """Return which of two buttons was pressed: never what nobody has chosen."""
    value = form_of(req).get(name, "")
    if value not in ("yes", "no"):
        raise Invalid((name, "give yes or no"))
    return value == "yes"
