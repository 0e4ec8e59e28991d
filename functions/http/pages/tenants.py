"""The list of tenants, with filters and a search that reads no other tenants."""

import re
from urllib.parse import urlencode

import azure.functions as func

from functions.current import container
from functions.http.pages.page import page
from functions.http.pages.rendering import html, redirect
from functions.http.pages.session import Session
from functions.http.replying import page_of
from shared.application.ports.tenants import TenantFilter
from shared.domain.lifecycle import TenantState

PATH = "/api/ops/tenants"
SHOWN = 50  # tenants of one page
FILTERS = ("state", "plan", "cluster", "region")


@page("GET", "ops/tenants", "Find and list tenants", strict=False, back="ops/tenants", keeps=("find", *FILTERS))
async def show_ops_tenants(req: func.HttpRequest, session: Session) -> func.HttpResponse:
    """List tenants; a name that is exactly one tenant's leads to it."""
    name = req.params.get("find", "").strip().lower()
    if name:
        slug = await container().find_tenants.find(name)
        if slug is not None:
            return redirect(f"{PATH}/{slug}")
    fields = {each: req.params.get(each, "") for each in FILTERS}
    wanted = TenantFilter(**fields, prefix=name)
    can_begin_a_slug = re.fullmatch("[a-z0-9-]*", name) is not None
    found = (
        await page_of(
            req,
            lambda limit, token: container().tenants.list(wanted, limit=limit, token=token),
            limit=SHOWN,
        )
        if can_begin_a_slug
        else None
    )
    clusters = await container().clusters.registered()
    choices = {
        "state": list(TenantState),
        "plan": list(container().plans),
        "cluster": sorted(each.name for each in clusters),
        "region": sorted({each.region for each in clusters}),
    }
    kept = {key: value for key, value in {"find": name, **fields}.items() if value}
    return html(
        "tenants",
        session=session,
        tenants=found.items if found else (),
        next_page=f"{PATH}?{urlencode({**kept, 'next': found.next_token})}" if found and found.next_token else "",
        name=name,
        chosen=fields,
        choices=choices,
        now=container().clock.now(),
    )
