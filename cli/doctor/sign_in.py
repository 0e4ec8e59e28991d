"""Whether the ops pages take nobody at their word: a made-up sign-in has to change nothing."""

import base64
import json
from collections.abc import Iterable
from http import HTTPStatus

import httpx

from cli.doctor.check import Check, State
from functions.http.pages.principal import HEADER
from shared.settings import OpsSettings

SIGN_IN, PAGES = "sign-in", "/api/ops"
# What App Service would say of an operator, and takes away when a caller says so.
_CLAIMS = {"oid": "00000000-0000-4000-8000-000000000000", "roles": OpsSettings.model_fields["role"].default}
FORGED = base64.b64encode(
    json.dumps({"role_typ": "roles", "claims": [{"typ": typ, "val": val} for typ, val in _CLAIMS.items()]}).encode()
).decode()


async def check_sign_in(url: str) -> Iterable[Check]:
    """Return whether the pages of an app refuse a made-up sign-in; nothing without pages."""
    async with httpx.AsyncClient(base_url=url, timeout=60, trust_env=False) as anybody:
        without, forged = [await anybody.get(PAGES, headers=each) for each in ({}, {HEADER: FORGED})]
    return judge(without.status_code, forged.status_code)


def judge(without: int, forged: int) -> Iterable[Check]:
    """Yield what the status of the pages says: without a sign-in, and with a made-up one.

    A role of another name than berth's default is refused, too, but with another status than nobody is.
    """
    match without, forged:
        case (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN) | (_, HTTPStatus.OK):
            text = (
                f"the app believes whoever sends the header {HEADER}: set BERTH_OPS_SIGN_IN to off or key; with azd, "
                "empty BERTH_SIGN_IN_CLIENT_ID, and run azd provision"
            )
            yield Check(SIGN_IN, State.MISSING, text)
        case (HTTPStatus.FORBIDDEN, HTTPStatus.FORBIDDEN):
            text = "the pages refuse everybody: the authentication of App Service is off for this app (docs/ops.md)"
            yield Check(SIGN_IN, State.WARNS, text)
        case (HTTPStatus.NOT_FOUND, HTTPStatus.NOT_FOUND):  # there are no pages
            pass
        case (HTTPStatus.UNAUTHORIZED | HTTPStatus.FOUND, _) if forged == without:
            yield Check(SIGN_IN, State.OK)
        case _:
            text = f"the pages respond with {without}, and with {forged} to a made-up sign-in: try again"
            yield Check(SIGN_IN, State.WAITS, text)
