# SPDX-License-Identifier: Apache-2.0
"""Requests to Swift: tokens that expire, bodies that end early, answers as the project's errors."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import requests
import urllib3
from swiftclient import client
from swiftclient.exceptions import ClientException

from magnetodb_backup.errors import (
    IncompleteBody,
    InvalidValue,
    NotFound,
    ObjectTooShort,
    StorageRefused,
    StorageUnavailable,
)
from magnetodb_backup.storage.driver import ObjectInfo
from magnetodb_backup.storage.swift_access import SwiftAccess
from magnetodb_backup.storage.swift_errors import from_answer, from_connection

_T = TypeVar("_T")
_CHUNK = 256 * 1024
_BROKEN = (requests.RequestException, urllib3.exceptions.HTTPError, OSError)


class SwiftRequests:
    """Sends requests; what the driver and its views of the past share."""

    def __init__(self, access: SwiftAccess) -> None:
        self.access = access

    def read(
        self,
        container: str,
        name: str,
        offset: int,
        length: int | None,
        *,
        headers: dict[str, str] | None = None,
        query: str | None = None,
    ) -> Iterator[bytes]:
        """Yield the bytes of an object as ``StorageDriver.read()`` does.

        ``headers`` and ``query`` choose the copy or the version.
        """
        check_name(name)
        what = f"reading {container}/{name} from byte {offset}"
        sent = {"Accept-Encoding": "identity", **(headers or {})}
        if offset or length is not None:
            last = "" if length is None else str(offset + length - 1)
            sent["Range"] = f"bytes={offset}-{last}"
        if length == 0:
            self._need(container, name, query)
            return
        result: dict[str, Any] = {}

        def fetch(url: str, token: str, conn: Any) -> tuple[Any, Any]:
            return client.get_object(  # type: ignore[no-any-return]
                url,
                token,
                container,
                name,
                resp_chunk_size=_CHUNK,
                query_string=query,
                headers=sent,
                response_dict=result,
                http_conn=conn,
            )

        # The library reads a body from the latest answer of its connection, so no other request
        # may use the connection before the body's end.
        with contextlib.ExitStack() as held:
            try:
                answer, content = self.ask(what, fetch, held)
            except _OutsideObject:
                if length is None and self._need(container, name, query).size == offset:
                    return
                raise ObjectTooShort(f"{what}: the object ends before") from None
            held.callback(content.close)
            expected = _expected_length(what, result["status"], answer, offset, length)
            yield from self._pieces(what, content, expected)
        if length is not None and expected != length:
            raise ObjectTooShort(f"{what}: the object has {expected} of the {length} bytes")

    def head(
        self,
        container: str,
        name: str,
        *,
        headers: dict[str, str] | None = None,
        query: str | None = None,
    ) -> ObjectInfo | None:
        """Return an object as ``StorageDriver.head()`` does."""
        check_name(name)
        try:
            answer = self.ask(
                f"looking at {container}/{name}",
                lambda url, token, conn: client.head_object(
                    url,
                    token,
                    container,
                    name,
                    http_conn=conn,
                    headers=headers,
                    query_string=query,
                ),
            )
        except NotFound:
            return None
        return ObjectInfo(name, int(answer["content-length"]), answer["etag"].strip('"'))

    def containers(self, prefix: str) -> Iterator[str]:
        """Yield the names of containers as ``StorageDriver.containers()`` does."""
        marker = ""
        while page := self._account_page(prefix, marker):
            if page[0] <= marker:
                raise StorageRefused(f"listing containers: {page[0]!r} after {marker!r}")
            yield from page
            marker = page[-1]

    def _account_page(self, prefix: str, marker: str) -> tuple[str, ...]:
        rows = self.rows(
            f"listing containers {prefix}* after {marker!r}",
            lambda url, token, conn: client.get_account(
                url, token, marker=marker, prefix=prefix, http_conn=conn
            )[1],
        )
        return tuple(row["name"] for row in rows)

    def rows(self, what: str, fetch: Callable[[str, str, Any], Any]) -> Any:
        """Return a page of a listing; empty if the account or container does not exist."""
        try:
            return self.ask(what, fetch)
        except NotFound:
            return ()
        except ValueError as error:
            raise StorageUnavailable(f"{what}: the answer is not a listing: {error}") from error

    def _need(self, container: str, name: str, query: str | None) -> ObjectInfo:
        found = self.head(container, name, query=query)
        if found is None:
            raise NotFound(f"there is no object {name!r} in container {container!r}")
        return found

    def _pieces(self, what: str, content: Any, expected: int) -> Iterator[bytes]:
        done = 0
        while done < expected:
            try:
                piece = content.read(min(_CHUNK, expected - done))
            except _BROKEN as error:
                if not _ended_early(error):
                    raise self._connection_error(error, what) from error
                piece = b""
            if not piece:
                raise IncompleteBody(f"{what}: the body ended after {done} of {expected} bytes")
            done += len(piece)
            yield piece
        with contextlib.suppress(*_BROKEN):
            content.read(1)  # the library keeps the connection only after reading the end

    def _connection_error(self, error: Exception, what: str) -> Exception:
        return from_connection(error, what, self.access.settings.storage_url or "the store")

    def ask(
        self,
        what: str,
        request: Callable[[str, str, Any], _T],
        held: contextlib.ExitStack | None = None,
    ) -> _T:
        """Send a request, and once more with a new token if the store refuses the first one.

        The connection is returned at the end of ``held``, by default after the answer.
        """
        token = self.access.token()
        try:
            return self._send(what, request, token, held)
        except ClientException as error:
            if error.http_status != 401:
                raise self._meaning(error, what) from error
        try:
            return self._send(what, request, self.access.renew(token), held)
        except ClientException as error:
            raise self._meaning(error, what) from error

    def _send(
        self,
        what: str,
        request: Callable[[str, str, Any], _T],
        token: str,
        held: contextlib.ExitStack | None,
    ) -> _T:
        url = self.access.url()
        with contextlib.ExitStack() as own:
            connection = (held or own).enter_context(self.access.connection(url))
            try:
                return request(url, token, (connection.parsed_url, connection))
            except _BROKEN as error:
                where = connection.host
                raise from_connection(error, what, where) from error

    def _meaning(self, error: ClientException, what: str) -> Exception:
        if error.http_status == 416:
            return _OutsideObject(what)
        return from_answer(error, what, self.access.settings.who)


class _OutsideObject(Exception):
    """The requested range begins after the end of the object."""


def check_name(name: str) -> None:
    """Raise InvalidValue for a name that no object can have."""
    # HTTP libraries resolve dots in paths: such a name would address another container.
    if not name or {".", ".."} & set(name.split("/")):
        raise InvalidValue(f"{name!r} cannot name an object")


def _ended_early(error: Exception) -> bool:
    return isinstance(error.__cause__, urllib3.exceptions.IncompleteRead)


def _expected_length(
    what: str, status: int, headers: dict[str, str], offset: int, length: int | None
) -> int:
    """Return the number of bytes that the answer's body must have."""
    announced = int(headers.get("content-length", -1))
    if offset or length is not None:
        begins = headers.get("content-range", "").startswith(f"bytes {offset}-")
        if status == 200 and announced == 0:  # an empty object has no range
            return 0
        if status != 206 or not begins:
            raise StorageRefused(
                f"{what}: the store ignores ranges (status {status}); is there a proxy in between?"
            )
    if announced < 0:
        raise StorageRefused(f"{what}: the answer has no length; is there a proxy in between?")
    return announced
