# SPDX-License-Identifier: Apache-2.0
"""Values of cells: as CQL writes them, in Cassandra's order, and as a driver returns them."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from typing import Any

NEVER = -(1 << 63)  # Cassandra's time of what was not deleted

# A text, a number, a frozen set; True for an element of a set, which is a cell without a value.
Value = str | int | frozenset[int]
# What a statement writes: a value, or the elements of a map (pairs), a set or a list.
Written = Value | tuple[tuple[int, str], ...] | tuple[int, ...]


class Type(enum.Enum):
    """A type, as CQL has it."""

    TEXT = "text"
    INT = "int"
    FROZEN = "frozen<set<int>>"
    MAP = "map<int, text>"
    SET = "set<int>"
    LIST = "list<int>"
    COUNTER = "counter"

    @property
    def is_collection(self) -> bool:
        """Return whether each element is a cell of its own."""
        return self in (Type.MAP, Type.SET, Type.LIST)


def literal(type_: Type, value: Any) -> str:
    """Return a value as CQL has it."""
    if value is None:
        return "null"
    match type_:
        case Type.TEXT:
            return f"'{value}'"
        case Type.INT | Type.COUNTER:
            return str(value)
        case Type.LIST:
            return f"[{', '.join(map(str, value))}]"
        case Type.MAP:
            return f"{{{', '.join(f'{key}: {text!r}' for key, text in value)}}}"
        case _:
            return f"{{{', '.join(map(str, sorted(value)))}}}"


def elements(type_: Type, value: Any) -> list[tuple[int, Value]]:
    """Return the cells of a collection, each by its path; a list has no paths but the order."""
    match type_:
        case Type.MAP:
            return list(dict(value).items())
        case Type.SET:
            return [(each, True) for each in sorted(value)]
        case _:
            return list(enumerate(value))


def as_bytes(value: Value) -> bytes:
    """Return a value as Cassandra compares it if two writes have the same time."""
    match value:
        case str():
            return value.encode()
        case bool():
            return b""
        case int():
            return value.to_bytes(4, "big", signed=True)
        case _:
            parts = [len(value), *(part for each in sorted(value) for part in (4, each))]
            return b"".join(part.to_bytes(4, "big", signed=True) for part in parts)


def plain(value: Any) -> Any:
    """Return a value that a driver returned as one that can be compared and shown."""
    if isinstance(value, str | int) or value is None:
        return value
    if isinstance(value, Mapping):
        return tuple(sorted(value.items()))
    if isinstance(value, list):
        return tuple(value)
    return tuple(sorted(value))
