"""The forms of the ops pages: each begins something once, however often it is sent."""

import re
import secrets

import azure.functions as func

from functions.http.endpoint import request_path
from functions.http.pages.session import FORM_TOKEN, Session, form_of
from shared.application.idempotent_start import Caller
from shared.domain.idempotency import fingerprint
from shared.errors import Invalid

FORM_KEY = "key"  # the name of the field with the idempotency key


def new_form_key() -> str:
    """Return the idempotency key of one form on one page."""
    return secrets.token_hex(16)


def form_caller(req: func.HttpRequest, session: Session) -> Caller:
    """Return who sends a form, with the form's idempotency key; raises Invalid for a form without one."""
    fields = form_of(req)
    key = fields.get(FORM_KEY, "")
    if not re.fullmatch("[0-9a-f]{32}", key):
        raise Invalid((FORM_KEY, "load the page again, and send its form"))
    content = {name: value for name, value in fields.items() if name not in (FORM_TOKEN, FORM_KEY)}
    return Caller(session.actor, f"form {key}", fingerprint(req.method, request_path(req), content))
