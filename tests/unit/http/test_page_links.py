"""Where the templates lead: each address in them is that of a route, a static file or a part of a page."""

import re
from collections.abc import Iterator
from typing import NamedTuple

import pytest

from functions.http.api import ROUTES
from functions.http.pages import tenants
from functions.http.pages.rendering import TEMPLATES
from functions.http.pages.static_files import static_url
from functions.http.problems import Kind

SOURCES = {path.name: path.read_text() for path in TEMPLATES.iterdir()}
SOMETHING = "x"  # in the place of what a template is given
OF_THE_PLATFORM = {"/.auth/logout"}
GIVEN = {  # whole addresses that a template is given, with a test of their own
    ("parts.html.jinja", "path"),  # of a macro: its callers have it
    ("layout.html.jinja", "path"),
    ("tenants.html.jinja", "next_page"),
    ("problem.html.jinja", "problem.kind.type"),
    ("problem.html.jinja", "problem.sign_in"),
    ("problem.html.jinja", "back"),
}
_TAG = re.compile(r"<(?:[^<>{]|{[{%].*?[%}]}|{)+>", re.DOTALL)
_ATTRIBUTE = re.compile(r'\s(href|src|action|hx-get|hx-post)="([^"]*)"')
_MACRO = re.compile(r"{(?:%|{) *(call action|later)\((?:session, )?(.+?), \"")


class Address(NamedTuple):
    """Where something in a template leads."""

    template: str
    method: str
    text: str


def filled(template: str, expression: str) -> str:
    """Return what an expression of a template may give: its literals, with something for all that it is given."""
    if found := re.fullmatch(r"static_url\('(.+)'\)", expression):
        return static_url(found[1])
    if found := re.search(r"default\('(.+)'\)", expression):
        return found[1]
    parts = [each.strip() for each in expression.split("~")]
    return "".join(each[1:-1] if each[0] == each[-1] == '"' else known(template, each) for each in parts)


def known(template: str, name: str) -> str:
    """Return what a template, or the one that includes it, sets a name to."""
    for each, source in SOURCES.items():
        if each == template or f'include "{template}"' in source:
            found = re.search(rf"{{% set {re.escape(name)} = (.+?) %}}", source)
            if found:
                return filled(each, found[1])
    return SOMETHING


def addresses() -> Iterator[Address]:
    """Yield all addresses in the templates."""
    for template, source in SOURCES.items():
        for tag in _TAG.findall(source):
            for attribute, value in _ATTRIBUTE.findall(tag):
                given = re.fullmatch(r"{{ (.+?) }}", value)
                if given and (template, given[1]) in GIVEN:
                    continue
                parts = re.split(r"{{ (.+?) }}", value)
                text = "".join(filled(template, each) if odd % 2 else each for odd, each in enumerate(parts))
                is_post = attribute == "hx-post" or (attribute == "action" and 'method="post"' in tag)
                yield Address(template, "POST" if is_post else "GET", text)
        for macro, argument in _MACRO.findall(source):
            yield Address(template, "POST" if macro == "call action" else "GET", filled(template, argument))
    for path in re.findall(r'\("\w+", "([^"]+)"\)', SOURCES["layout.html.jinja"]):
        yield Address("layout.html.jinja", "GET", path)


def is_route(method: str, path: str) -> bool:
    """Whether a route takes a request."""
    return any(
        route.method == method and re.fullmatch(re.sub(r"{\w+}", "[^/]+", f"/api/{route.path}"), path)
        for route in ROUTES.values()
    )


FOUND = sorted(set(addresses()))
IDS = {
    re.sub(r"{{ .+? }}", SOMETHING, each) for source in SOURCES.values() for each in re.findall(r'\sid="(.+?)"', source)
}


def test_all_addresses_are_found() -> None:
    written = sum(len(re.findall(r'\s(?:href|src|action|hx-get|hx-post)="', source)) for source in SOURCES.values())
    seen = [each for source in SOURCES.values() for tag in _TAG.findall(source) for each in _ATTRIBUTE.findall(tag)]
    assert len(seen) == written
    called = sum(len(re.findall(r"{% call action\(|{{ later\(", source)) for source in SOURCES.values())
    assert sum(len(_MACRO.findall(source)) for source in SOURCES.values()) == called
    assert len(FOUND) > 50


@pytest.mark.parametrize("address", FOUND, ids=lambda each: f"{each.template.split('.')[0]} {each.method} {each.text}")
def test_every_address_leads_somewhere(address: Address) -> None:
    path, _, fragment = address.text.partition("?")[0].partition("#")
    if address.text.startswith("https://") or path in OF_THE_PLATFORM:
        return
    assert is_route(address.method, path) if path else True, address
    assert (fragment in IDS) if fragment else path, address


def test_addresses_that_templates_are_given_are_routes() -> None:
    assert all(is_route("GET", each.type) for each in Kind)
    assert is_route("GET", tenants.PATH)
    assert not is_route("POST", tenants.PATH)
