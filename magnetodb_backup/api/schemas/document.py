# SPDX-License-Identifier: Apache-2.0
"""The OpenAPI document, and validation of requests against it."""

from __future__ import annotations

import json
from functools import cache
from importlib.resources import files
from typing import Any

import falcon
from jsonschema import Draft202012Validator

from magnetodb_backup.errors import InvalidValue

_LONGEST_BODY = 1024 * 1024


@cache
def document() -> dict[str, Any]:
    """Return the document."""
    text = files("magnetodb_backup.api").joinpath("openapi.json").read_text()
    parsed: dict[str, Any] = json.loads(text)
    return parsed


def _check(schema: dict[str, Any], value: Any, where: str) -> None:
    whole = {**schema, "components": document()["components"]}
    errors = sorted(Draft202012Validator(whole).iter_errors(value), key=lambda e: list(e.path))
    if errors:
        path = "".join(f"[{p!r}]" for p in errors[0].path)
        raise InvalidValue(f"{where}{path}: {errors[0].message}")


def read_body(request: falcon.Request, path: str, method: str = "post") -> dict[str, Any]:
    """Return the JSON body, validated against the document's operation.

    :raises InvalidValue: naming the field that is wrong.
    """
    operation = document()["paths"][path][method]["requestBody"]
    if request.content_length is None and request.get_header("Transfer-Encoding"):
        raise falcon.HTTPLengthRequired(description="send the body with a Content-Length")
    if (request.content_length or 0) > _LONGEST_BODY:
        raise falcon.HTTPContentTooLarge(description=f"at most {_LONGEST_BODY} bytes")
    text = request.bounded_stream.read(_LONGEST_BODY + 1)
    if not text and not operation.get("required"):
        return {}
    # A page may send any other type to a foreign site without asking that site first.
    if falcon.parse_header(request.content_type or "")[0] != falcon.MEDIA_JSON:
        raise falcon.HTTPUnsupportedMediaType(
            description=f"Content-Type is {request.content_type or 'missing'}; send the body with "
            f"Content-Type: {falcon.MEDIA_JSON}"
        )
    try:
        body: Any = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InvalidValue(f"the body is not JSON: {error}") from None
    _check(operation["content"]["application/json"]["schema"], body, "body")
    return dict(body)


def read_query(request: falcon.Request, path: str, method: str = "get") -> dict[str, Any]:
    """Return the query's parameters, validated; numbers as int, ``true`` and ``false`` as bool.

    :raises InvalidValue: for an unknown parameter or a value that is not allowed.
    """
    known = {p["name"]: p["schema"] for p in document()["paths"][path][method]["parameters"]}
    values: dict[str, Any] = {}
    for name, text in request.params.items():
        if name not in known:
            raise InvalidValue(f"unknown query parameter {name!r}; known: {', '.join(known)}")
        if isinstance(text, list):
            raise InvalidValue(f"query parameter {name!r} is given more than once")
        value: Any = text
        if known[name]["type"] == "integer":
            try:
                value = int(text)
            except ValueError:
                raise InvalidValue(f"query parameter {name!r} is {text!r}, not a number") from None
        if known[name]["type"] == "boolean":
            value = {"true": True, "false": False}.get(text, text)
        _check(known[name], value, name)
        values[name] = value
    return values
