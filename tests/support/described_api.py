"""Every response of the API that a test sees is checked against the API's own description."""

import json
from typing import Any

import httpx
import schemathesis
from schemathesis.specs.openapi import checks

from cli.api import Api, Json
from functions.http.api import ROUTES
from functions.http.openapi import document
from functions.http.problems import MEDIA_TYPE
from tests.support.builders import PLANS

DOCUMENT: Json = json.loads(document(ROUTES, plans=PLANS))
_CHECKS: list[Any] = [
    checks.status_code_conformance,
    checks.content_type_conformance,
    checks.response_headers_conformance,
    checks.response_schema_conformance,
]
_DESCRIBED: Any = schemathesis.openapi.from_dict(DOCUMENT)
_PROBLEM: Json = {"description": "", "content": {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}}}
_ALLOW: Json = {"headers": {"Allow": {"required": True, "schema": {"type": "string"}}}}
_ELSEWHERE: Json = {"responses": {"404": _PROBLEM, "405": _PROBLEM | _ALLOW}}  # as the description says in its text
_NOT_DESCRIBED: Any = schemathesis.openapi.from_dict(
    DOCUMENT | {"paths": {"/": {"get": _ELSEWHERE, "head": _ELSEWHERE}}}
)


class DescribedApi(Api):
    """A caller of the API that accepts no response that the description does not have."""

    def __init__(self, url: str, key: str) -> None:
        super().__init__(url, key)
        self._http.event_hooks = {"response": [is_as_described]}


async def is_as_described(response: httpx.Response) -> None:
    """Fail unless the description has this response; a response hook of httpx."""
    await response.aread()
    if response.status_code == int(httpx.codes.BAD_GATEWAY) and not response.content:
        return  # of the host, in the place of a worker that ended
    method = response.request.method
    operation = _DESCRIBED.find_operation_by_path(method, response.request.url.path)
    if operation is None or method == "HEAD":  # schemathesis takes it for GET, the API does not
        operation = _NOT_DESCRIBED["/"]["head" if method == "HEAD" else "get"]
    path = {each.name: "any" for each in operation.path_parameters}  # only a failure's message shows it
    operation.Case(path_parameters=path).validate_response(response, checks=_CHECKS)
    # Where no body is described, schemathesis accepts any.
    if method == "HEAD" or "content" not in operation.responses.find_by_status_code(response.status_code).definition:
        assert not response.content, f"{operation.label} {response.status_code} has a body, but none is described"
