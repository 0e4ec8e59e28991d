"""The overview: the fleet at a glance."""

import azure.functions as func

from functions.current import container
from functions.http.pages.page import page
from functions.http.pages.rendering import html
from functions.http.pages.session import Session


@page("GET", "ops", "Show the fleet at a glance")
async def show_ops_overview(req: func.HttpRequest, session: Session) -> func.HttpResponse:
    """Show the clusters with their capacity."""
    return html("overview", session=session, clusters=await container().clusters.list())
