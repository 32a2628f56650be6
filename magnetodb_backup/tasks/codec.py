# SPDX-License-Identifier: Apache-2.0
"""Encodes and decodes what crosses the bus and what the database stores of a job's steps.

The form is JSON: an object for a frozen dataclass with its field names as keys, an array for a
tuple, the value of an enum. Decoding is strict about types and ignores unknown fields, so that
messages and stored results of newer versions stay readable.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, TypeVar

import msgspec

from magnetodb_backup.errors import Unexpected

T = TypeVar("T")


def encode(value: object) -> dict[str, Any]:
    """Return the JSON object of a dataclass, with lists for tuples as after a real bus.

    The in-memory bus of a standalone service hands over the object itself.
    """
    # msgspec's own JSON refuses lone surrogates, which file names may have.
    encoded: dict[str, Any] = json.loads(json.dumps(msgspec.to_builtins(value)))
    return encoded


def decode(kind: type[T], data: Mapping[str, Any]) -> T:
    """Return the dataclass ``kind`` that ``data`` describes.

    :raises Unexpected: naming the class and the field whose value has another type.
    """
    try:
        return msgspec.convert(data, kind, strict=True)
    except msgspec.ValidationError as error:
        raise Unexpected(
            f"{kind.__name__} cannot be read: {error}; do all processes run the same release?"
        ) from None
