"""Strict checks of requests: unknown parameters and fields are errors, so that a caller notices a typing mistake."""

import json
from collections import Counter
from collections.abc import Mapping
from typing import Any, cast
from urllib.parse import parse_qsl

import azure.functions as func
from pydantic import BaseModel, TypeAdapter, ValidationError
from pydantic_core import from_json

from functions.http.problems import Kind, Problem, ProblemError
from functions.http.route import Route
from shared.errors import Invalid

MAX_BODY_BYTES = 64 * 1024  # a request here is a few hundred bytes

# In place of pydantic's own texts, by its type of error. The names in braces are from the error's context; none of them
# is a value of the request, which may be an e-mail address.
_SENTENCES = {
    "bool_type": "give true or false",
    "enum": "give one of: {expected}",
    "extra_forbidden": "there is no such field",
    "greater_than_equal": "give a number that is at least {ge}",
    "int_from_float": "give a whole number",
    "int_type": "give a whole number",
    "list_type": "give a list",
    "less_than_equal": "give a number that is at most {le}",
    "missing": "this field is required",
    "model_type": "give a JSON object",
    "string_pattern_mismatch": "give text of the form {pattern}",
    "string_too_long": "use at most {max_length} characters",
    "string_too_short": "use {min_length} or more characters",
    "string_type": "give text",
    "string_unicode": "give text of valid Unicode characters",
    # Of a string too: where a validator of ours comes first, pydantic no longer knows that it is one.
    "too_long": "use at most {max_length} characters",
    "too_short": "use {min_length} or more characters",
    "value_error": "give a valid e-mail address",  # its only use that is not a validator of ours
}
UNKNOWN = "give a value that /api/openapi.json allows here"  # for types of error that the table does not have


def check_query_and_body(req: func.HttpRequest, route: Route) -> None:
    """Raise Invalid for a query or a body that the route does not take."""
    known = {each.name: each for each in route.parameters if each.location == "query"}
    # Not from req.params, where the host has joined repeated parameters.
    given = parse_qsl(req.url.partition("?")[2], keep_blank_values=True)
    count = Counter(name for name, _ in given)
    wrong: dict[str, str] = {}
    for name, value in given:
        if name == "code":  # a function key, which the host reads
            continue
        if name not in known:
            wrong[name] = f"use {', '.join(known)} only" if known else "this request takes no parameters"
        elif count[name] > 1:
            wrong[name] = "give it once"
        elif not value:
            wrong[name] = "give it a value, or leave it out"
        else:
            try:
                TypeAdapter(known[name].type).validate_python(value)
            except ValidationError as error:
                wrong[name] = _sentence(error.errors()[0])
    if wrong:
        raise Invalid(*((f"?{name}", text) for name, text in wrong.items()))
    if route.body is None and req.get_body():
        raise Invalid(("", "send this request without a body"))


def read[M: BaseModel](req: func.HttpRequest, model: type[M]) -> M:
    """Return the request's JSON body as a model.

    Raises:
        ProblemError: The body is too large, or not JSON by its media type, or compressed.
        Invalid: It is not well-formed JSON, or does not fit the model.
    """
    body = req.get_body()
    if len(body) > MAX_BODY_BYTES:
        raise ProblemError(Problem(Kind.TOO_LARGE, f"Send at most {MAX_BODY_BYTES} bytes."))
    media_type = header(req, "Content-Type").split(";")[0].strip().lower()
    if media_type != "application/json":
        raise ProblemError(Problem(Kind.MEDIA_TYPE, "Send JSON with the header Content-Type: application/json."))
    if header(req, "Content-Encoding").strip().lower() not in ("", "identity"):
        raise ProblemError(Problem(Kind.MEDIA_TYPE, "Send the body without Content-Encoding."))
    try:
        return model.model_validate(_strict_json(body))
    except ValidationError as error:
        raise Invalid(*((_pointer(each["loc"]), _sentence(each)) for each in error.errors())) from None


def header(req: func.HttpRequest, name: str) -> str:
    """Return a header of the request, or an empty string."""
    headers = cast("Mapping[str, str]", req.headers)  # untyped there
    return headers.get(name, "")


def _strict_json(body: bytes) -> Any:
    """Return the value of a JSON text; raises Invalid if it is not strict JSON, or if a field occurs twice."""
    try:
        # pydantic's parser bounds depth and digits and takes UTF-8 alone; of two fields of one name it keeps the last.
        from_json(body, allow_inf_nan=False)
        return json.loads(body, object_pairs_hook=_fields)
    except ValueError as error:
        raise Invalid(("", f"the body is not JSON: {error}")) from None


def _fields(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    fields = dict(pairs)
    if len(fields) < len(pairs):
        repeated = next(name for name, number in Counter(name for name, _ in pairs).items() if number > 1)
        raise ValueError(f"the field {json.dumps(repeated)} occurs twice")
    return fields


def _pointer(location: tuple[int | str, ...]) -> str:
    return "".join("/" + str(part).replace("~", "~0").replace("/", "~1") for part in location)


def _sentence(error: Mapping[str, Any]) -> str:
    context = dict(error.get("ctx", {}))
    if isinstance(context.get("error"), ValueError):  # by a validator of ours
        return str(context["error"])
    if "expected" in context:  # as in `'a', 'b' or 'c'`
        context["expected"] = context["expected"].replace("'", "").replace(" or ", ", ")
    return _SENTENCES.get(error["type"], UNKNOWN).format_map(context)
