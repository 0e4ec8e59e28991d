"""The API's own description: an OpenAPI 3.1 document made from the routes and from the models of their JSON."""

import json
from collections.abc import Iterable, Mapping
from http import HTTPStatus
from typing import Any, override

from azure.functions import AuthLevel
from pydantic import BaseModel, TypeAdapter
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaMode, models_json_schema

from functions.http import requests, responses
from functions.http.problems import MEDIA_TYPE, Kind
from functions.http.route import RETRY_AFTER, RETRY_AFTER_KINDS, Header, Parameter, Response, Route

type Json = dict[str, Any]

VERSION = "0.1.0"  # of berth
_DESCRIPTION = """Gives every customer of a single-tenant product their own instance.

A change responds 202 with an operation; follow it under `Location` until `finished_at` is set. Errors are problem
documents (RFC 9457) whose `type` leads to a page that says what to do. A path that is not listed here gets
`not-found`, another method than those listed gets `method-not-allowed` and `Allow`. The pages for operators under
/api/ops are no part of the API and are not listed."""
_SECURITY = {
    AuthLevel.ANONYMOUS: list[Json](),
    AuthLevel.FUNCTION: [{"functionKey": list[str]()}],
    AuthLevel.ADMIN: [{"masterKey": list[str]()}],
}


def document(routes: Mapping[str, Route], *, plans: Iterable[str]) -> str:
    """Return the document as JSON text.

    Args:
        routes: All routes by the names of their functions.
        plans: The names of all plans, of which a signup takes one.
    """
    routes = {name: route for name, route in routes.items() if route.described}
    schemas = _schemas(routes.values())
    schemas[requests.Signup.__name__]["properties"]["plan"]["enum"] = list(plans)
    paths: dict[str, Json] = {}
    for name, route in routes.items():
        paths.setdefault(f"/api/{route.path}", {})[route.method.lower()] = _operation(name, route)
    key = {"type": "apiKey", "in": "header", "name": "x-functions-key"}
    return json.dumps(
        {
            "openapi": "3.1.0",
            "info": {"title": "berth", "version": VERSION, "description": _DESCRIPTION},
            "paths": paths,
            "components": {
                "schemas": schemas,
                "securitySchemes": {
                    "functionKey": {**key, "description": "A function key or the master key of the Functions host."},
                    "masterKey": {**key, "description": "The master key of the Functions host, for operators."},
                },
            },
        },
        ensure_ascii=False,
    )


class _Schema(GenerateJsonSchema):
    """pydantic's schemas without titles that only repeat the field's name, and without empty strings as defaults.

    An empty string stands for a field that was left out; no caller may send it.
    """

    @override
    def field_title_should_be_set(self, schema: Any) -> bool:
        return False

    @override
    def default_schema(self, schema: Any) -> Json:
        return self.generate_inner(schema["schema"]) if schema.get("default") == "" else super().default_schema(schema)


def _schemas(routes: Iterable[Route]) -> Json:
    """Return the schemas of all models that the routes name, and of what they contain."""
    models: dict[type[BaseModel], JsonSchemaMode] = {responses.Problem: "serialization"}
    for route in routes:
        if route.body is not None:
            models[route.body] = "validation"
        for each in route.responses:
            if _is_model(each.content):
                models[each.content] = "serialization"
    template = "#/components/schemas/{model}"
    _, schemas = models_json_schema(list(models.items()), ref_template=template, schema_generator=_Schema)
    return schemas["$defs"]


def _operation(name: str, route: Route) -> Json:
    operation: Json = {
        "operationId": name,
        "summary": route.summary,
        "security": _SECURITY[route.level],
        "parameters": [_parameter(each) for each in route.parameters],
    }
    if route.body is not None:
        content = {"application/json": {"schema": _schema(route.body)}}
        operation["requestBody"] = {"required": route.body_required, "content": content}
    operation["responses"] = dict(sorted(_responses(route).items()))
    return operation


def _parameter(parameter: Parameter) -> Json:
    return {
        "name": parameter.name,
        "in": parameter.location,
        "required": parameter.location == "path",
        "description": parameter.description,
        "schema": _schema(parameter.type),
    }


def _responses(route: Route) -> dict[str, Json]:
    found: dict[str, Json] = {}
    for each in route.responses:
        response, known = _response(each), found.get(str(each.status.value))
        if known is not None:  # the same in another media type
            response = _also(known, response)
        found[str(each.status.value)] = response
    text = "The request is not valid HTTP, or a header is not UTF-8. The server's own response, without a body."
    found[str(HTTPStatus.BAD_REQUEST.value)] = {"description": text}
    if route.level is not AuthLevel.ANONYMOUS:
        text = "The key is missing or wrong. The Functions host's own response, without a body."
        found[str(HTTPStatus.UNAUTHORIZED.value)] = {"description": text}
    by_status: dict[int, list[Kind]] = {}
    for kind in route.problems:
        by_status.setdefault(kind.status, []).append(kind)
    for status, kinds in by_status.items():
        response = _problem(status, kinds)
        known = found.get(str(status))
        if known is not None:  # the same status with and without a problem
            response["description"] = f"{known['description']} Or: {response['description']}"
            response["content"] |= known["content"]
            response.pop("headers", None)  # only one of the two has them
        found[str(status)] = response
    return found


def _also(one: Json, other: Json) -> Json:
    """Return a response that is one of two, of different media types."""
    described = {
        "description": f"{one['description']} Or: {other['description']}",
        "content": one["content"] | other["content"],
    }
    headers = one.get("headers", {}) | other.get("headers", {})
    return described | ({"headers": headers} if headers else {})


def _response(response: Response) -> Json:
    described: Json = {
        "description": response.description,
        "content": {response.media_type: {"schema": _schema(response.content)}},
    }
    return described | _headers(response.headers)


def _problem(status: int, kinds: list[Kind]) -> Json:
    schema = _schema(responses.Problem) | {
        "properties": {"type": {"enum": [kind.type for kind in kinds]}, "status": {"const": status}}
    }
    response: Json = {
        "description": " ".join(f"[{kind.label}]({kind.type}): {kind.title}." for kind in kinds),
        "content": {MEDIA_TYPE: {"schema": schema}},
    }
    return response | _headers((RETRY_AFTER,) if RETRY_AFTER_KINDS.issuperset(kinds) else ())


def _headers(headers: Iterable[Header]) -> Json:
    described = {
        each.name: {"description": each.description, "required": each.always, "schema": _schema(each.type)}
        for each in headers
    }
    return {"headers": described} if described else {}


def _schema(kind: Any) -> Json:
    """Return a reference to a model, or the schema of any other type."""
    if _is_model(kind):
        return {"$ref": f"#/components/schemas/{kind.__name__}"}
    return TypeAdapter(kind).json_schema(schema_generator=_Schema)


def _is_model(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, BaseModel)
