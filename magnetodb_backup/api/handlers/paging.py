# SPDX-License-Identifier: Apache-2.0
"""Pages of records, with a link to the next one."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Protocol, TypeVar
from urllib.parse import urlencode

import falcon

from magnetodb_backup.api.schemas.document import read_query

_LARGEST = 4 << 20  # bytes of the records on a page
_AT_ONCE = 100  # records that are read at once, so that large ones are not read in vain


class Identified(Protocol):
    """A record with an ID."""

    @property
    def id(self) -> str:
        """The ID, a UUID."""


Record = TypeVar("Record", bound=Identified)


def page(
    request: falcon.Request,
    path: str,
    *,
    max_limit: int,
    read: Callable[..., Sequence[Record]],
    view: Callable[[Record], dict[str, Any]],
) -> dict[str, Any]:
    """Return the page that the query asks for, under the name that ends ``path``.

    It ends early, but not before the first record, where it would have more than 4 MiB of records:
    a coverage or a scope may name thousands of keyspaces. ``read`` takes the query's parameters.

    :raises InvalidValue: for a query that the OpenAPI document does not allow.
    """
    query = read_query(request, path)
    limit = min(query.pop("limit", max_limit), max_limit)
    views: list[dict[str, Any]] = []
    links, size = [], 0
    for record in _records(read, query, limit + 1):
        shown = view(record)
        size += len(json.dumps(shown))
        if views and (len(views) == limit or size > _LARGEST):
            more = urlencode({**query, "limit": limit, "marker": views[-1]["id"]})
            links = [{"rel": "next", "href": f"{request.root_path}{path}?{more}"}]
            break
        views.append(shown)
    return {path.rpartition("/")[2]: views, "links": links}


def _records(
    read: Callable[..., Sequence[Record]], query: Mapping[str, Any], limit: int
) -> Iterator[Record]:
    """Yield at most so many records, reading a few at a time."""
    left, after = limit, dict(query)
    while left > 0:
        wanted = min(left, _AT_ONCE)
        records = read(limit=wanted, **after)
        yield from records
        if len(records) < wanted:
            return
        left, after["marker"] = left - wanted, records[-1].id
