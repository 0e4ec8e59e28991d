"""HTML from the templates beside this module, with the headers that every page has.

A worker that starts does not import jinja2: only the first page does.
"""

import functools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import quote, urlencode

import azure.functions as func

from functions.http.endpoint import request_path
from functions.http.pages.forms import new_form_key
from functions.http.pages.session import Session, form_of
from functions.http.pages.static_files import static_url
from functions.http.pages.text import duration, iso, moment, money, seconds
from functions.http.problems import Kind, Problem
from shared.errors import Invalid

if TYPE_CHECKING:
    from jinja2 import Environment

MAX_KEPT = 200  # characters of a field: more is no name or version, and would make an address too long
TEMPLATES = Path(__file__).with_name("templates")
HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
        "form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}


def html(
    template: str,
    *,
    session: Session | None,
    status: int = 200,
    headers: Mapping[str, str] | None = None,
    **values: Any,
) -> func.HttpResponse:
    """Return a page or a part of one.

    Args:
        template: The name of its template, without `.html.jinja`.
        session: Who is signed in, if anybody is.
        status: The status of the response.
        headers: More headers.
        values: What the template shows; all text is escaped.
    """
    text = (
        _environment().get_template(f"{template}.html.jinja").render(session=session, static_url=static_url, **values)
    )
    return func.HttpResponse(
        text, status_code=status, headers={**HEADERS, **(headers or {})}, mimetype="text/html", charset="utf-8"
    )


def redirect(path: str, *, headers: Mapping[str, str] | None = None) -> func.HttpResponse:
    """Return a response that leads a browser to a page, after a form too."""
    return func.HttpResponse(status_code=303, headers={**HEADERS, "Location": path, **(headers or {})})


def problem_page(
    req: func.HttpRequest, problem: Problem, *, back: str = "", keeps: Sequence[str] = ()
) -> func.HttpResponse:
    """Respond with a page that says what the problem is and what to do.

    Args:
        req: The request.
        problem: What is wrong with it.
        back: The path, after /api/, of the page that has the form which was sent, if one was.
        keeps: The fields that this page fills in again with what was typed, by its query.
    """
    # A page that has its form itself leads back only to a form that can be filled in better, else to the same problem.
    leads_back = back and (req.method == "POST" or problem.kind is Kind.INVALID_REQUEST)
    values = {
        "problem": problem,
        "back": _way_back(req, back, keeps) if leads_back else "",
        "of_ops": request_path(req).startswith("/api/ops") and problem.kind is not Kind.SIGN_IN,
    }
    return html("problem", session=None, status=problem.kind.status, headers=dict(problem.headers), **values)


def _way_back(req: func.HttpRequest, back: str, keeps: Sequence[str]) -> str:
    try:
        fields = form_of(req) if req.method == "POST" else req.params
    except Invalid:  # what was sent is no form
        fields = {}
    kept = {name: fields[name][:MAX_KEPT] for name in keeps if fields.get(name)}
    path = "/api/" + back.format(**{name: quote(value, safe="") for name, value in req.route_params.items()})
    return f"{path}?{urlencode(kept)}" if kept else path


@functools.cache
def _environment() -> "Environment":
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update({each.__name__: each for each in (duration, iso, moment, money, seconds)})
    cast("dict[str, Any]", environment.globals)["new_form_key"] = new_form_key
    return environment
