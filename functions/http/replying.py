"""Shared by the handlers: the caller, the page of a list, and the common responses."""

import re
from collections.abc import Awaitable, Callable, Mapping

import azure.functions as func
from pydantic import BaseModel

from functions.http import responses
from functions.http.endpoint import request_path
from functions.http.requests import CLUSTER_NAME, DEFAULT_ACTOR, DEFAULT_LIMIT, MAX_ACTOR_LENGTH, NO_ADDRESS
from functions.http.validation import header
from shared.application.idempotent_start import Caller
from shared.application.ports.stored import Page
from shared.domain.clusters import ClusterName
from shared.domain.idempotency import MAX_KEY_LENGTH, fingerprint
from shared.domain.operations import MIN_POLL_SECONDS, Operation
from shared.domain.slugs import Slug, check_slug
from shared.errors import Invalid, NotFound


def json_response(body: BaseModel, status: int = 200, headers: Mapping[str, str] | None = None) -> func.HttpResponse:
    """Return a JSON response."""
    text = body.model_dump_json()
    return func.HttpResponse(text, status_code=status, headers=dict(headers or {}), mimetype="application/json")


def accepted(operation: Operation) -> func.HttpResponse:
    """Respond with an operation that was begun, and where to follow it."""
    headers = {"Location": f"/api/operations/{operation.id}", "Retry-After": str(MIN_POLL_SECONDS)}
    return json_response(responses.Operation.of(operation), status=202, headers=headers)


async def page_of[T](
    req: func.HttpRequest, read: Callable[[int, str], Awaitable[Page[T]]], *, limit: int | None = None
) -> Page[T]:
    """Return the page that the query's `limit` and `next` name.

    Args:
        req: The request.
        read: Returns the page of so many items after a token; raises Invalid for a token that is not ours.
        limit: How many items it has, for a route whose query does not say it.

    Raises Invalid for a `next` that is not ours.
    """
    return await read(limit or int(req.params.get("limit", DEFAULT_LIMIT)), req.params.get("next", ""))


def slug_of(req: func.HttpRequest) -> Slug:
    """Return the slug in the path; raises NotFound for what no tenant can have."""
    slug = req.route_params["slug"]
    if check_slug(slug) is not None:
        raise NotFound("there is no such tenant: its name is not one that a tenant can have")
    return Slug(slug)


def cluster_name_of(req: func.HttpRequest) -> ClusterName:
    """Return the name in the path; raises Invalid for one that no cluster can have."""
    name = req.route_params["name"]
    if not re.fullmatch(CLUSTER_NAME, name):
        raise Invalid(("", "name a cluster with 1 to 40 lower-case letters, digits and hyphens"))
    return ClusterName(name)


def actor_of(req: func.HttpRequest) -> str:
    """Return who calls, by the header Berth-Actor.

    Raises:
        Invalid: It is too long or not plain text, or could be an e-mail address.
    """
    actor = header(req, "Berth-Actor") or DEFAULT_ACTOR
    if len(actor) > MAX_ACTOR_LENGTH or not actor.isprintable():
        raise Invalid(("Berth-Actor", f"use at most {MAX_ACTOR_LENGTH} printable characters"))
    if not re.search(NO_ADDRESS, actor):
        raise Invalid(("Berth-Actor", "leave out @: name the caller by a name or an id, not by an e-mail address"))
    return actor


def caller_of(req: func.HttpRequest, body: BaseModel | None = None) -> Caller:
    """Return who calls, and the Idempotency-Key with the fingerprint of the request.

    Raises:
        Invalid: The actor is none, or the key is too long, not plain text, or empty, so that it would have no effect.
    """
    actor = actor_of(req)
    key = header(req, "Idempotency-Key")
    empty = not key and "Idempotency-Key" in req.headers
    if empty or len(key) > MAX_KEY_LENGTH or not (key.isascii() and key.isprintable()):
        raise Invalid(("Idempotency-Key", f"use 1 to {MAX_KEY_LENGTH} printable ASCII characters"))
    content = None if body is None else body.model_dump(mode="json")
    return Caller(actor, key, fingerprint(req.method, request_path(req), content) if key else "")
