"""Who is signed in: by a signed cookie, or by the authentication of Azure App Service; and the forms of that person."""

import re
import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta
from http.cookies import CookieError, SimpleCookie
from urllib.parse import parse_qsl, urlsplit

import azure.functions as func

from functions.http.pages.principal import HEADER, platform_signs_in, read_principal
from functions.http.problems import Kind, Problem, ProblemError
from functions.http.requests import MAX_ACTOR_LENGTH, NO_ADDRESS
from functions.http.validation import MAX_BODY_BYTES, header
from shared.domain.signatures import read_signed, sign
from shared.errors import Invalid, NotFound
from shared.settings import OpsSettings, SignIn

HOURS = 12
COOKIE = "berth_ops"
FORM_TOKEN = "Berth-Form-Token"  # noqa: S105 - the name of a header, and of a field of each form
LOCAL_ACTOR = "ops"  # there is one key, so nobody knows which operator it is
_COOKIE_PURPOSE = "ops session"
_LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})
_PLATFORM_SIGN_IN = "/.auth/login/aad?post_login_redirect_uri=/api/ops"


@dataclass(frozen=True, slots=True)
class Session:
    """One sign-in of a person.

    Attributes:
        id: What its forms are bound to.
        actor: Who it is in the audit trail; never an e-mail address.
        form_token: What each of its forms sends along.
        by_platform: Whether the platform has signed the person in, and so signs out, too.
    """

    id: str
    actor: str
    form_token: str
    by_platform: bool


def session_of(req: func.HttpRequest, settings: OpsSettings, now: datetime) -> Session:
    """Return who is signed in.

    Raises:
        NotFound: The ops pages are off.
        ProblemError: Nobody is signed in, or somebody without the role; or the platform signs nobody in.
    """
    match settings.sign_in:
        case SignIn.OFF:
            raise NotFound("the ops pages are off; set BERTH_OPS_SIGN_IN to switch them on, as docs/ops.md says")
        case SignIn.KEY:
            session_id = read_signed(_key(settings), _COOKIE_PURPOSE, _cookie(req), now=now)
            if session_id is None:
                detail = "Run ./berth ops and open the link that it prints; a sign-in lasts for 12 hours."
                raise ProblemError(Problem(Kind.SIGN_IN, detail))
            return _session(settings, session_id, LOCAL_ACTOR, now, by_platform=False)
        case SignIn.PLATFORM:
            user = _user(req, settings)
            return _session(settings, user, user, now, by_platform=True)


def new_cookie(req: func.HttpRequest, settings: OpsSettings, now: datetime) -> str:
    """Return the header Set-Cookie that signs somebody in; all of it is in the cookie, and nothing on the server."""
    value = sign(_key(settings), _COOKIE_PURPOSE, secrets.token_hex(16), now + timedelta(hours=HOURS))
    return _set_cookie(req, value, HOURS * 3600)


def no_cookie(req: func.HttpRequest) -> str:
    """Return the header Set-Cookie that signs somebody out in this browser."""
    return _set_cookie(req, "", 0)


def is_from_here(req: func.HttpRequest) -> bool:
    """Whether a request comes from a page of this app: from its form, or by its link."""
    site = header(req, "Sec-Fetch-Site")
    host = header(req, "Host") or urlsplit(req.url).netloc
    # Browsers send the first; the second is for those that are older. A page without a referrer has the origin `null`.
    return site == "same-origin" or (not site and urlsplit(header(req, "Origin")).netloc == host)


def check_origin(req: func.HttpRequest) -> None:
    """Raise ProblemError unless a request that may change something comes from a page of this app."""
    if not is_from_here(req):
        raise ProblemError(
            Problem(Kind.FORBIDDEN, "The request came from a page of another site. Open the page of this berth itself.")
        )


def check_form(req: func.HttpRequest, session: Session, settings: OpsSettings, now: datetime) -> None:
    """Raise ProblemError unless a form of this session sent the request."""
    check_origin(req)
    token = header(req, FORM_TOKEN) or form_of(req).get(FORM_TOKEN, "")
    if read_signed(_key(settings), _form_purpose(session.id), token, now=now) is None:
        raise ProblemError(
            Problem(Kind.FORBIDDEN, "The form is too old, or not yours. Open its page again, and send it from there.")
        )


def form_of(req: func.HttpRequest) -> dict[str, str]:
    """Return the fields of a form; raises Invalid for a body that is none."""
    body = req.get_body()
    media_type = header(req, "Content-Type").split(";")[0].strip().lower()
    if not body:
        return {}
    if len(body) > MAX_BODY_BYTES or media_type != "application/x-www-form-urlencoded":
        raise Invalid(("", "send the form as the page has it"))
    return dict(parse_qsl(body.decode("utf-8", "replace"), keep_blank_values=True))


def _session(settings: OpsSettings, session_id: str, actor: str, now: datetime, *, by_platform: bool) -> Session:
    token = sign(_key(settings), _form_purpose(session_id), "", now + timedelta(hours=HOURS))
    return Session(session_id, actor, token, by_platform)


def _user(req: func.HttpRequest, settings: OpsSettings) -> str:
    """Return the id of the platform's user; raises ProblemError for one that is nobody, or has not the role."""
    if not platform_signs_in():
        detail = (
            "BERTH_OPS_SIGN_IN is set to platform, but the authentication of App Service is off for this app, so "
            "anybody could claim to be an operator. Turn it on, as docs/ops.md says, or set BERTH_OPS_SIGN_IN to key."
        )
        raise ProblemError(Problem(Kind.FORBIDDEN, detail))
    principal = read_principal(header(req, HEADER))
    if principal is None:
        detail = "Sign in with your organization's account."
        raise ProblemError(Problem(Kind.SIGN_IN, detail, sign_in=_PLATFORM_SIGN_IN))
    if settings.role not in principal.roles:
        detail = f"Ask for the app role {settings.role} in Microsoft Entra, then sign out and in again."
        raise ProblemError(Problem(Kind.FORBIDDEN, detail))
    known = 0 < len(principal.id) <= MAX_ACTOR_LENGTH and principal.id.isprintable()
    if not known or not re.search(NO_ADDRESS, principal.id):
        detail = "The platform gave no object id for you. Let its token have the claim `oid`."
        raise ProblemError(Problem(Kind.FORBIDDEN, detail))
    return principal.id


def _cookie(req: func.HttpRequest) -> str:
    try:
        found = SimpleCookie(header(req, "Cookie")).get(COOKIE)
    except CookieError:
        return ""
    return found.value if found else ""


def _set_cookie(req: func.HttpRequest, value: str, seconds: int) -> str:
    # A browser drops a Secure cookie that comes without TLS: so there is a sign-in by http on this machine only.
    secure = "" if urlsplit(req.url).hostname in _LOOPBACK else "; Secure"
    # Lax, not Strict: who follows a link in a mail or a chat stays signed in. That is a GET, which changes nothing.
    return f"{COOKIE}={value}; Path=/api/ops; Max-Age={seconds}; HttpOnly; SameSite=Lax{secure}"


def _key(settings: OpsSettings) -> str:
    return settings.key.get_secret_value()


def _form_purpose(session_id: str) -> str:
    return f"form of {session_id}"
