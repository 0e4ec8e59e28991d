"""Every answer of the API that a test sees is held against the API's own description."""

import functools
import json
import re
from typing import Any

import httpx
from jsonschema import Draft202012Validator

from cli.api import Api, Json
from functions.http.api import ROUTES
from functions.http.openapi import document
from functions.http.problems import MEDIA_TYPE

DOCUMENT: Json = json.loads(document(ROUTES))
ELSEWHERE: Json = {  # what has no operation, as the description says in its words
    "404": {"content": {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}}},
    "405": {
        "content": {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}},
        "headers": {"Allow": {"required": True, "schema": {"type": "string"}}},
    },
}


class DescribedApi(Api):
    """A caller of the API that accepts no answer which the description does not have."""

    def __init__(self, url: str, key: str) -> None:
        super().__init__(url, key)
        self._http.event_hooks = {"response": [is_as_described]}


async def is_as_described(response: httpx.Response) -> None:
    """Fail unless the description has this answer; a response hook of httpx."""
    await response.aread()
    request = response.request
    name = f"{request.method} {request.url.path}: {response.status_code}"
    responses = _responses(request.method, request.url.path)
    described = responses.get(str(response.status_code))
    assert described is not None, f"{name} is not described, only {', '.join(responses)}"
    for header, rule in described.get("headers", {}).items():
        value = response.headers.get(header)
        assert value is not None or not rule["required"], f"{name} lacks the header {header}"
        if value is not None:
            _fits(int(value) if rule["schema"]["type"] == "integer" else value, rule["schema"], f"{name}, {header}")
    content = described.get("content", {})
    if not content or request.method == "HEAD":
        assert not response.content, f"{name} has a body, but none is described"
        return
    media_type = response.headers["Content-Type"].partition(";")[0]
    assert media_type in content, f"{name} is {media_type}, but {', '.join(content)} is described"
    body = response.json() if media_type.endswith("json") else response.text
    _fits(body, content[media_type]["schema"], name)


def _responses(method: str, path: str) -> Json:
    for template, operations in DOCUMENT["paths"].items():
        pattern = re.sub(r"\\\{\w+\\\}", "[^/]+", re.escape(template))
        if method.lower() in operations and re.fullmatch(pattern, path):
            return operations[method.lower()]["responses"]
    return ELSEWHERE


def _fits(value: Any, schema: Json, name: str) -> None:
    wrong = [f"{error.json_path}: {error.message}" for error in _validator(json.dumps(schema)).iter_errors(value)]
    assert not wrong, f"{name} is not as described: {'; '.join(wrong)}"


@functools.cache
def _validator(schema: str) -> Draft202012Validator:
    rules = json.loads(schema) | {"components": DOCUMENT["components"]}  # where its references lead
    return Draft202012Validator(rules, format_checker=Draft202012Validator.FORMAT_CHECKER)
