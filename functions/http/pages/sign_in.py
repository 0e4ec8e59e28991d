"""Signing in to the ops pages with a one-time link, and signing out."""

import logging
from http import HTTPStatus

import azure.functions as func

from functions.current import container
from functions.http.endpoint import endpoint
from functions.http.pages.page import page, page_route
from functions.http.pages.rendering import html, problem_page, redirect
from functions.http.pages.session import LOCAL_ACTOR, Session, check_origin, form_of, new_cookie, no_cookie
from functions.http.problems import Kind, Problem, ProblemError
from functions.http.replying import actor_of, json_response
from functions.http.responses import SignInLink
from functions.http.route import ACTOR, USUAL_PROBLEMS, Response, Route
from shared.errors import NotFound
from shared.events import log_event
from shared.settings import OpsSettings, SignIn

logger = logging.getLogger(__name__)

START = "/api/ops"
PATH = "/api/ops/sign-in"


@endpoint(
    Route(
        method="POST",
        path="ops/links",
        summary="Make a link that signs an operator in to the ops pages, once",
        level=func.AuthLevel.ADMIN,
        parameters=(ACTOR,),
        responses=(Response(HTTPStatus.CREATED, "The link.", SignInLink),),
        problems=(Kind.CONFLICT, *USUAL_PROBLEMS),
    )
)
async def make_sign_in_link(req: func.HttpRequest) -> func.HttpResponse:
    """Make a link that signs an operator in."""
    link = container().sign_in_links.make(actor_of(req))
    # What comes after the # stays in the browser: no log of a server or proxy has it.
    body = SignInLink(path=f"{PATH}#{link.token}", expires_at=link.expires_at)
    return json_response(body, status=HTTPStatus.CREATED, headers={"Cache-Control": "no-store"})


@endpoint(page_route("GET", "ops/sign-in", "Show the page to which a link leads"), refuse=problem_page)
async def show_sign_in(req: func.HttpRequest) -> func.HttpResponse:
    """Show the page whose script sends what stands behind the # of a link."""
    _settings()
    return html("sign_in", session=None)


@endpoint(page_route("POST", "ops/sign-in", "Sign in with a link"), refuse=problem_page)
async def sign_in(req: func.HttpRequest) -> func.HttpResponse:
    """Sign in with a link, which works once."""
    settings = _settings()
    check_origin(req)
    if not await container().sign_in_links.use(form_of(req).get("token", "")):
        detail = "The link was used before, or is too old. Run ./berth ops and open the link that it prints."
        raise ProblemError(Problem(Kind.SIGN_IN, detail))
    log_event(logger, "signed in", actor=LOCAL_ACTOR)
    return redirect(START, headers={"Set-Cookie": new_cookie(req, settings, container().clock.now())})


@page("POST", "ops/sign-out", "Sign out")
async def sign_out(req: func.HttpRequest, session: Session) -> func.HttpResponse:
    """Sign out in this browser."""
    log_event(logger, "signed out", actor=session.actor)
    return redirect(PATH, headers={"Set-Cookie": no_cookie(req)})


def _settings() -> OpsSettings:
    """Return the settings where one signs in by a link; raises NotFound elsewhere."""
    settings = container().settings.ops
    if settings.sign_in is not SignIn.KEY:
        raise NotFound("nobody signs in by a link here; open /api/ops")
    return settings
