"""An operator who is signed in to the ops pages of a world on fakes, and calls their registered triggers."""

import base64
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl, urlencode

import azure.functions as func
import pytest
from pydantic import SecretStr

from functions.http.api import ROUTES
from functions.http.endpoint import CLIENT
from functions.http.pages.session import COOKIE, FORM_TOKEN
from shared.settings import OpsSettings, Settings, SignIn
from tests.support.builders import new_settings
from tests.support.html_page import Element, elements
from tests.support.registered import registered_functions
from tests.support.world import World
from tests.support.world_container import WorldContainer

HOST = "https://berth.example.com"
OPS_KEY = "0123456789abcdef0123456789abcdef"
FROM_HERE = {"Sec-Fetch-Site": "same-origin"}
ROLES = "http://schemas.microsoft.com/ws/2008/06/identity/claims/role"
OBJECT_ID = "http://schemas.microsoft.com/identity/claims/objectidentifier"


def ops_settings(sign_in: SignIn = SignIn.KEY) -> Settings:
    """Return settings with the ops pages on."""
    return new_settings().model_copy(update={"ops": OpsSettings(sign_in=sign_in, key=SecretStr(OPS_KEY))})


def answer(monkeypatch: pytest.MonkeyPatch, world: World) -> None:
    """Let all ops pages answer from a world."""
    container = WorldContainer(world)
    modules = {function.get_user_function().__module__ for function in registered_functions().values()}
    for module in {"functions.http.pages.page", *(each for each in modules if each.startswith("functions.http.pages"))}:
        monkeypatch.setattr(f"{module}.container", lambda: container, raising=False)


async def call(
    name: str,
    path: str,
    /,
    *,
    form: Mapping[str, str] | None = None,
    headers: Mapping[str, str] | None = None,
    **route_params: str,
) -> func.HttpResponse:
    """Call a registered trigger as the worker does; the world has its own task hub, so no client is bound."""
    query = path.partition("?")[2]
    route = ROUTES[name]
    sent = {"Host": HOST.removeprefix("https://"), **(headers or {})}
    if form is not None:
        sent["Content-Type"] = "application/x-www-form-urlencoded"
    req = func.HttpRequest(
        method=route.method,
        url=HOST + path,
        headers=sent,
        params=dict(parse_qsl(query)),
        route_params=route_params,
        body=urlencode(form or {}).encode() if form is not None else b"",
    )
    function = registered_functions()[name]
    trigger = function.get_user_function()
    if any(binding.name == CLIENT for binding in function.get_bindings()):
        return await trigger.__wrapped__(req, None)
    return await trigger(req)


@dataclass
class OpsVisitor:
    """A browser of somebody: its cookies, and the pages as its person finds them."""

    headers: dict[str, str] = field(default_factory=dict[str, str])

    async def sign_in(self, world: World) -> None:
        """Sign in with a new link."""
        link = world.worker.sign_in_links.make("ann")
        form = {"token": link.token}
        response = await call("sign_in", "/api/ops/sign-in", form=form, headers=FROM_HERE)
        assert response.status_code == 303, response.get_body()
        self.headers["Cookie"] = response.headers["Set-Cookie"].partition(";")[0]
        assert self.headers["Cookie"].startswith(COOKIE)

    async def get(self, name: str, path: str, /, *, status: int = 200, **route_params: str) -> list[Element]:
        """Return the elements of a page, which has to be well-formed."""
        response = await call(name, path, form=None, headers=self.headers, **route_params)
        assert response.status_code == status, response.get_body()
        return elements(response.get_body().decode())

    async def form_token(self) -> str:
        """Return what the forms of this session send along."""
        found = await self.get("show_ops_overview", "/api/ops")
        return next(each.attributes["value"] for each in found if each.attributes.get("name") == FORM_TOKEN)

    async def post(self, name: str, path: str, form: Mapping[str, str], /, **route_params: str) -> func.HttpResponse:
        """Send a form of this session."""
        filled = {FORM_TOKEN: await self.form_token(), **form}
        return await call(name, path, form=filled, headers={**self.headers, **FROM_HERE}, **route_params)


def principal(*roles: str, object_id: str = "0b5f7f0e-1111-4222-8333-444455556666", **fields: Any) -> str:
    """Return the header in which App Service names a user, who has an e-mail address."""
    claims = [
        {"typ": "http://schemas.xmlsoap.org/ws/2005/05/identity/claims/emailaddress", "val": "ann@example.com"},
        {"typ": OBJECT_ID, "val": object_id},
        *({"typ": ROLES, "val": role} for role in roles),
    ]
    document = {"auth_typ": "aad", "claims": claims, "name_typ": "name", "role_typ": ROLES, **fields}
    return base64.b64encode(json.dumps(document).encode()).decode()
