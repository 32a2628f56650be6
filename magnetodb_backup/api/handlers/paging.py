# SPDX-License-Identifier: Apache-2.0
"""Pages of records, with a link to the next one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar
from urllib.parse import urlencode

import falcon

from magnetodb_backup.api.schemas.document import read_query

Record = TypeVar("Record")


def page(
    request: falcon.Request,
    path: str,
    *,
    max_limit: int,
    read: Callable[..., Sequence[Record]],
    view: Callable[[Record], dict[str, Any]],
) -> dict[str, Any]:
    """Return the page that the query asks for, under the name that ends ``path``.

    ``read`` takes the query's parameters.

    :raises InvalidValue: for a query that the OpenAPI document does not allow.
    """
    query = read_query(request, path)
    limit = min(query.pop("limit", max_limit), max_limit)
    records = read(limit=limit + 1, **query)
    views = [view(r) for r in records[:limit]]
    links = []
    if len(records) > limit:
        more = urlencode({**query, "limit": limit, "marker": views[-1]["id"]})
        links = [{"rel": "next", "href": f"{request.root_path}{path}?{more}"}]
    return {path.rpartition("/")[2]: views, "links": links}
