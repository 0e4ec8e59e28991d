"""HTTP: the API's description, and a page for each kind of problem."""

import functools
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import azure.functions as func

from functions.current import container
from functions.http.endpoint import ROUTES, endpoint, problem_document
from functions.http.openapi import document
from functions.http.pages.rendering import html, problem_page
from functions.http.problems import Kind, Problem
from functions.http.route import Header, Parameter, Route, ok
from functions.http.validation import header
from shared.errors import NotFound

if TYPE_CHECKING:
    from markupsafe import Markup

PROBLEMS = Path(__file__).parents[2] / "docs/problems.md"
VARY = Header("Vary", str, "Always `Accept`.")


def _is_browser(req: func.HttpRequest) -> bool:
    """Whether a request is for a browser's window: programs do not ask for HTML."""
    return "text/html" in header(req, "Accept")


def _refuse(req: func.HttpRequest, problem: Problem) -> func.HttpResponse:
    """Respond with a page to a browser, and with a document to others."""
    return (problem_page if _is_browser(req) else problem_document)(req, problem)


@endpoint(
    Route(
        method="GET",
        path="openapi.json",
        summary="Describe this API",
        level=func.AuthLevel.ANONYMOUS,
        responses=ok("This document.", dict[str, Any]),
        problems=(Kind.INVALID_REQUEST, Kind.INTERNAL),
    )
)
async def show_openapi(req: func.HttpRequest) -> func.HttpResponse:
    """Describe this API as OpenAPI 3.1."""
    return func.HttpResponse(_document(), mimetype="application/json")


@endpoint(
    Route(
        method="GET",
        path="problems/{kind}",
        summary="Explain a kind of problem",
        level=func.AuthLevel.ANONYMOUS,
        parameters=(Parameter("path", "kind", str, "The end of a problem's `type`."),),
        responses=(
            *ok("What happened, and what to do.", str, VARY, media_type="text/markdown"),
            *ok("The same as a page, for a browser.", str, VARY, media_type="text/html"),
        ),
        problems=(Kind.INVALID_REQUEST, Kind.NOT_FOUND, Kind.INTERNAL),
    ),
    refuse=_refuse,
)
async def show_problem(req: func.HttpRequest) -> func.HttpResponse:
    """Return the page about a kind of problem, to which the `type` of a problem document leads."""
    label = req.route_params["kind"]
    page = problem_pages().get(label)
    if page is None:
        raise NotFound(f"there is no such kind of problem; kinds: {', '.join(problem_pages())}")
    headers = {VARY.name: "Accept"}
    if not _is_browser(req):
        return func.HttpResponse(page, headers=headers, mimetype="text/markdown", charset="utf-8")
    kind = next(each for each in Kind if each.label == label)
    return html("problem_kind", session=None, headers=headers, kind=kind, text=_html_of(page))


@functools.cache
def _document() -> str:
    return document(ROUTES, plans=container().plans)


@functools.cache
def _html_of(page: str) -> "Markup":
    """Return a page as HTML, without its heading, which the template has."""
    from markdown_it import MarkdownIt
    from markupsafe import Markup

    return Markup(MarkdownIt("commonmark", {"html": False}).render(page.partition("\n")[2]))  # noqa: S704 - a file of ours


@functools.cache
def problem_pages() -> dict[str, str]:
    """Return the sections of docs/problems.md, each as a page, by the kind that it is about."""
    sections = re.split(r"^## ", PROBLEMS.read_text(encoding="utf-8"), flags=re.MULTILINE)[1:]
    return {section.partition("\n")[0]: f"# {section.rstrip()}\n" for section in sections}
