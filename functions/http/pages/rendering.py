"""HTML from the templates beside this module, with the headers that every page has.

A worker that starts does not import jinja2: only the first page does.
"""

import functools
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import azure.functions as func

from functions.http.endpoint import request_path
from functions.http.pages.forms import new_form_key
from functions.http.pages.session import Session
from functions.http.pages.static_files import static_url
from functions.http.pages.text import duration, iso, moment, money, seconds
from functions.http.problems import Kind, Problem

if TYPE_CHECKING:
    from jinja2 import Environment

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


def problem_page(req: func.HttpRequest, problem: Problem) -> func.HttpResponse:
    """Respond with a page that says what the problem is and what to do."""
    of_ops = request_path(req).startswith("/api/ops") and problem.kind is not Kind.SIGN_IN
    headers = dict(problem.headers)
    return html("problem", session=None, status=problem.kind.status, headers=headers, problem=problem, of_ops=of_ops)


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
