# SPDX-License-Identifier: Apache-2.0
"""The storage driver for OpenStack Swift, with any keystoneauth1 plugin (v1password for v1)."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any, BinaryIO, TypeVar

import requests
import urllib3
from keystoneauth1 import exceptions as auth_errors
from keystoneauth1 import loading
from oslo_config import cfg
from swiftclient import client
from swiftclient.exceptions import ClientException
from typing_extensions import override

from magnetodb_backup.errors import (
    Conflict,
    IncompleteBody,
    InvalidValue,
    NotFound,
    ObjectTooShort,
    StorageRefused,
    StorageUnavailable,
)
from magnetodb_backup.storage.body import Body
from magnetodb_backup.storage.driver import ObjectInfo, StorageDriver
from magnetodb_backup.storage.swift_access import SwiftAccess, SwiftSettings
from magnetodb_backup.storage.swift_errors import from_answer, from_connection

_T = TypeVar("_T")
_GROUP = "swift"
_CHUNK = 256 * 1024
_BROKEN = (requests.RequestException, urllib3.exceptions.HTTPError, OSError)
# Asks all copies of an object and takes the newest; otherwise the first one to answer is taken.
_NEWEST = {"X-Newest": "true"}
_IDENTITY = ("username", "user_id", "application_credential_id", "project_name", "project_id")


def from_conf(conf: cfg.ConfigOpts) -> SwiftDriver:
    """Make the driver from ``[swift]``, without any request yet.

    :raises InvalidValue: if the authentication options are wrong or incomplete.
    """
    options = conf[_GROUP]
    try:
        auth = loading.load_auth_from_conf_options(conf, _GROUP)
        if auth is None:
            raise InvalidValue("[swift] auth_type is empty; set it, for example to password")
        session = loading.load_session_from_conf_options(
            conf,
            _GROUP,
            auth=auth,
            timeout=options.timeout or max(options.connect_timeout, options.read_timeout),
        )
    except (auth_errors.NoMatchingPlugin, auth_errors.MissingRequiredOptions) as error:
        raise InvalidValue(f"[swift]: {error}") from error
    named = conf[options.auth_section or _GROUP]
    known = [(name, getattr(named, name, None)) for name in _IDENTITY]
    who = ", ".join(f"{name} {value!r}" for name, value in known if value)
    settings = SwiftSettings(
        who=who or f"the identity of auth_type {options.auth_type!r}",
        where=str(getattr(named, "auth_url", None) or "the identity service"),
        region_name=options.region_name,
        interface=options.interface,
        storage_url=options.storage_url,
        connect_timeout=options.connect_timeout,
        read_timeout=options.read_timeout,
    )
    return SwiftDriver(SwiftAccess(session, auth, settings))


class SwiftDriver(StorageDriver):
    """Stores each object as one plain Swift object; both sides check its MD5."""

    def __init__(self, access: SwiftAccess) -> None:
        self._access = access

    def account_url(self) -> str:
        """Return the URL of the account; asks the identity service where needed."""
        return self._access.url()

    @override
    def ensure_container(self, container: str) -> None:
        self._ask(
            f"creating container {container}",
            lambda url, token, conn: client.put_container(url, token, container, http_conn=conn),
        )

    @override
    def containers(self, prefix: str) -> Iterator[str]:
        marker = ""
        while page := self._account_page(prefix, marker):
            if page[0] <= marker:
                raise StorageRefused(f"listing containers: {page[0]!r} after {marker!r}")
            yield from page
            marker = page[-1]

    @override
    def put(
        self, container: str, name: str, body: bytes | memoryview | BinaryIO, *, size: int, md5: str
    ) -> None:
        _check_name(name)
        source = Body(body, size)
        what = f"storing {container}/{name} ({size} bytes)"

        def send(url: str, token: str, conn: Any) -> str:
            source.seek(0)
            return str(
                client.put_object(
                    url,
                    token,
                    container,
                    name,
                    source if size else b"",
                    content_length=size,
                    etag=md5,
                    content_type="application/octet-stream",
                    http_conn=conn,
                )
            )

        try:
            etag = self._ask(what, send)
        except StorageUnavailable as error:
            if not _cut_off(error):
                raise
            # A store that refuses a token during the body may only break the connection: let a
            # small request renew the token, so that the next try succeeds.
            with contextlib.suppress(StorageUnavailable, NotFound):
                self.head(container, name)
            raise
        except NotFound as error:
            raise NotFound(f"{error}; create the container first") from error
        if not etag:  # another PUT of the same name won: compare what it stored
            there = self._head(container, name, _NEWEST)
            if there is None or there.md5 != md5:
                raise IncompleteBody(f"{what}: another request stored other bytes under this name")
        elif etag != md5:
            self.delete(container, name)
            raise IncompleteBody(f"{what}: the store has MD5 {etag}, not {md5}; it was removed")

    @override
    def read(
        self, container: str, name: str, *, offset: int = 0, length: int | None = None
    ) -> Iterator[bytes]:
        return self._read(container, name, offset, length, {})

    @override
    def read_newest(self, container: str, name: str, *, offset: int = 0) -> Iterator[bytes]:
        return self._read(container, name, offset, None, _NEWEST)

    def _read(
        self, container: str, name: str, offset: int, length: int | None, more: dict[str, str]
    ) -> Iterator[bytes]:
        _check_name(name)
        what = f"reading {container}/{name} from byte {offset}"
        headers = {"Accept-Encoding": "identity", **more}
        if offset or length is not None:
            last = "" if length is None else str(offset + length - 1)
            headers["Range"] = f"bytes={offset}-{last}"
        if length == 0:
            self._need(container, name)
            return
        result: dict[str, Any] = {}

        def fetch(url: str, token: str, conn: Any) -> tuple[Any, Any]:
            return client.get_object(  # type: ignore[no-any-return]
                url,
                token,
                container,
                name,
                resp_chunk_size=_CHUNK,
                headers=headers,
                response_dict=result,
                http_conn=conn,
            )

        # The library reads a body from the latest answer of its connection, so no other request
        # may use the connection before the body's end.
        with contextlib.ExitStack() as held:
            try:
                answer, content = self._ask(what, fetch, held)
            except _OutsideObject:
                if length is None and self._need(container, name).size == offset:
                    return
                raise ObjectTooShort(f"{what}: the object ends before") from None
            held.callback(content.close)
            expected = _expected_length(what, result["status"], answer, offset, length)
            yield from self._pieces(what, content, expected)
        if length is not None and expected != length:
            raise ObjectTooShort(f"{what}: the object has {expected} of the {length} bytes")

    @override
    def head(self, container: str, name: str) -> ObjectInfo | None:
        return self._head(container, name, {})

    def _head(self, container: str, name: str, more: dict[str, str]) -> ObjectInfo | None:
        _check_name(name)
        try:
            headers = self._ask(
                f"looking at {container}/{name}",
                lambda url, token, conn: client.head_object(
                    url, token, container, name, http_conn=conn, headers=more
                ),
            )
        except NotFound:
            return None
        return ObjectInfo(name, int(headers["content-length"]), headers["etag"].strip('"'))

    @override
    def list(self, container: str, prefix: str = "") -> Iterator[ObjectInfo]:
        marker = ""
        while page := self._page(container, prefix, marker):
            if page[0].name <= marker:
                raise StorageRefused(f"listing {container}: {page[0].name!r} after {marker!r}")
            yield from page
            marker = page[-1].name

    @override
    def folders(self, container: str, prefix: str) -> Iterator[str]:
        marker = ""
        while page := self._folder_page(container, prefix, marker):
            names = [row.get("subdir") or row["name"] for row in page]
            if names[0] <= marker:
                raise StorageRefused(f"listing {container}: {names[0]!r} after {marker!r}")
            yield from (row["subdir"] for row in page if "subdir" in row)
            marker = names[-1]

    @override
    def delete(self, container: str, name: str) -> None:
        _check_name(name)
        with contextlib.suppress(NotFound):
            self._ask(
                f"deleting {container}/{name}",
                lambda url, token, conn: client.delete_object(
                    url, token, container, name, http_conn=conn
                ),
            )

    @override
    def delete_container(self, container: str) -> None:
        def delete(url: str, token: str, conn: Any) -> bool:
            try:
                client.delete_container(url, token, container, http_conn=conn)
            except ClientException as error:
                if error.http_status != 409:
                    raise
                return False
            return True

        with contextlib.suppress(NotFound):
            if not self._ask(f"deleting container {container}", delete):
                raise Conflict(f"container {container!r} has objects; delete them first")

    @override
    def quota(self) -> int | None:
        found = self._ask(
            "asking for the quota of the account",
            lambda url, token, conn: client.head_account(url, token, http_conn=conn),
        )
        quota = found.get("x-account-meta-quota-bytes", "")
        return int(quota) if quota.isascii() and quota.isdigit() else None

    @override
    def close(self) -> None:
        self._access.close()

    def _page(self, container: str, prefix: str, marker: str) -> tuple[ObjectInfo, ...]:
        rows = self._rows(
            f"listing {container}/{prefix} after {marker!r}",
            lambda url, token, conn: client.get_container(
                url, token, container, marker=marker, prefix=prefix, http_conn=conn
            )[1],
        )
        return tuple(ObjectInfo(row["name"], int(row["bytes"]), row["hash"]) for row in rows)

    def _folder_page(self, container: str, prefix: str, marker: str) -> Any:
        return self._rows(
            f"listing folders {container}/{prefix} after {marker!r}",
            lambda url, token, conn: client.get_container(
                url, token, container, marker=marker, prefix=prefix, delimiter="/", http_conn=conn
            )[1],
        )

    def _account_page(self, prefix: str, marker: str) -> tuple[str, ...]:
        rows = self._rows(
            f"listing containers {prefix}* after {marker!r}",
            lambda url, token, conn: client.get_account(
                url, token, marker=marker, prefix=prefix, http_conn=conn
            )[1],
        )
        return tuple(row["name"] for row in rows)

    def _rows(self, what: str, fetch: Callable[[str, str, Any], Any]) -> Any:
        """Return a page of a listing; empty if the account or container does not exist."""
        try:
            return self._ask(what, fetch)
        except NotFound:
            return ()
        except ValueError as error:
            raise StorageUnavailable(f"{what}: the answer is not a listing: {error}") from error

    def _need(self, container: str, name: str) -> ObjectInfo:
        found = self.head(container, name)
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
        return from_connection(error, what, self._access.settings.storage_url or "the store")

    def _ask(
        self,
        what: str,
        request: Callable[[str, str, Any], _T],
        held: contextlib.ExitStack | None = None,
    ) -> _T:
        """Send a request, and once more with a new token if the store refuses the first one.

        The connection is returned at the end of ``held``, by default after the answer.
        """
        token = self._access.token()
        try:
            return self._send(what, request, token, held)
        except ClientException as error:
            if error.http_status != 401:
                raise self._meaning(error, what) from error
        try:
            return self._send(what, request, self._access.renew(token), held)
        except ClientException as error:
            raise self._meaning(error, what) from error

    def _send(
        self,
        what: str,
        request: Callable[[str, str, Any], _T],
        token: str,
        held: contextlib.ExitStack | None,
    ) -> _T:
        url = self._access.url()
        with contextlib.ExitStack() as own:
            connection = (held or own).enter_context(self._access.connection(url))
            try:
                return request(url, token, (connection.parsed_url, connection))
            except _BROKEN as error:
                where = connection.host
                raise from_connection(error, what, where) from error

    def _meaning(self, error: ClientException, what: str) -> Exception:
        if error.http_status == 416:
            return _OutsideObject(what)
        return from_answer(error, what, self._access.settings.who)


class _OutsideObject(Exception):
    """The requested range begins after the end of the object."""


def _check_name(name: str) -> None:
    # HTTP libraries resolve dots in paths: such a name would address another container.
    if not name or {".", ".."} & set(name.split("/")):
        raise InvalidValue(f"{name!r} cannot name an object")


def _cut_off(error: BaseException) -> bool:
    cause = error.__cause__
    return isinstance(cause, requests.ConnectionError) and not isinstance(cause, requests.Timeout)


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
