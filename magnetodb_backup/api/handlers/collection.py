# SPDX-License-Identifier: Apache-2.0
"""What all collections of records share: POST requests a record, GET lists a page of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic

import falcon

from magnetodb_backup.api.handlers.context import Tools
from magnetodb_backup.api.handlers.paging import Record, page
from magnetodb_backup.api.schemas.document import read_body


@dataclass(frozen=True)
class Noun(Generic[Record]):
    """A kind of records; ``plural`` is its name in paths and policies.

    ``create`` records a request with this body, ``read`` takes the parameters of the query.
    """

    plural: str
    create: Callable[[Mapping[str, Any]], Record]
    read: Callable[..., Sequence[Record]]
    view: Callable[[Record], dict[str, Any]]

    @property
    def path(self) -> str:
        """The path of the collection."""
        return f"/v1/{self.plural}"


class Collection(Generic[Record]):
    """Requests and lists records of one noun."""

    def __init__(self, tools: Tools, noun: Noun[Record]) -> None:
        self._tools, self._noun = tools, noun

    def on_post(self, request: falcon.Request, response: falcon.Response) -> None:
        """Record a request; 202."""
        noun = self._noun
        self._tools.allow(request, f"{noun.plural}:create")
        record = noun.create(read_body(request, noun.path))
        response.location = f"{request.root_path}{noun.path}/{record.id}"
        accept(response, noun.view(record))

    def on_get(self, request: falcon.Request, response: falcon.Response) -> None:
        """Return a page of records, with a link to the next one."""
        noun = self._noun
        self._tools.allow(request, f"{noun.plural}:list")
        response.media = page(
            request, noun.path, max_limit=self._tools.max_limit, read=noun.read, view=noun.view
        )


def accept(response: falcon.Response, media: dict[str, Any]) -> None:
    """Answer that the request is recorded and its job follows; 202."""
    response.status = falcon.HTTP_202
    response.media = media
