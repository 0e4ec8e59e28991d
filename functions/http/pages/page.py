"""`@page(...)`: one declaration registers an ops page, with its sign-in, the check of its forms and its errors."""

import functools
import inspect
from collections.abc import Awaitable, Callable
from typing import Concatenate, Literal

import azure.functions as func

from functions.current import container
from functions.http.endpoint import endpoint
from functions.http.pages.rendering import problem_page
from functions.http.pages.session import Session, check_form, session_of
from functions.http.route import Parameter, Route, ok

type PageHandler[**P] = Callable[Concatenate[func.HttpRequest, Session, P], Awaitable[func.HttpResponse]]
_SESSION = "session"


def page_route(
    method: Literal["GET", "POST"],
    path: str,
    summary: str,
    parameters: tuple[Parameter, ...] = (),
    *,
    strict: bool = True,
) -> Route:
    """Return the declaration of a page, or of a form's target, which reads its form itself."""
    return Route(
        method=method,
        path=path,
        summary=summary,
        level=func.AuthLevel.ANONYMOUS,  # the Functions host lets everybody in; the page asks for a sign-in
        parameters=parameters,
        responses=ok("The page.", str, media_type="text/html"),
        problems=(),
        strict=strict and method == "GET",
        described=False,
    )


def page[**P](
    method: Literal["GET", "POST"],
    path: str,
    summary: str,
    parameters: tuple[Parameter, ...] = (),
    *,
    strict: bool = True,
    back: str = "",
    keeps: tuple[str, ...] = (),
) -> Callable[[PageHandler[P]], PageHandler[P]]:
    """Register a page for those who are signed in; a POST has to come from a form of their own session.

    Args:
        method: GET for what shows, POST for what changes.
        path: What comes after /api/.
        summary: What it does.
        parameters: Those of its path and query.
        strict: Whether its query has to be as declared; a form of the method GET sends fields that are empty, too.
        back: Of a form's target, the path of the page that has the form: an error leads back there.
        keeps: The fields of the form that an error does not lose, because that page takes them in its query.
    """

    def register(handler: PageHandler[P]) -> PageHandler[P]:
        @functools.wraps(handler)
        async def guarded(req: func.HttpRequest, *args: P.args, **kwargs: P.kwargs) -> func.HttpResponse:
            settings, now = container().settings.ops, container().clock.now()
            session = session_of(req, settings, now)
            if method != "GET":
                check_form(req, session, settings, now)
            return await handler(req, session, *args, **kwargs)

        # The worker binds what the signature names: the session is no binding.
        signature = inspect.signature(handler)
        bound = [each for each in signature.parameters.values() if each.name != _SESSION]
        guarded.__signature__ = signature.replace(parameters=bound)  # type: ignore[attr-defined]
        guarded.__annotations__.pop(_SESSION)
        refuse = functools.partial(problem_page, back=back, keeps=keeps)
        endpoint(page_route(method, path, summary, parameters, strict=strict), refuse=refuse)(guarded)
        return handler

    return register
