# SPDX-License-Identifier: Apache-2.0
"""The storage driver for OpenStack Swift, with any keystoneauth1 plugin (v1password for v1)."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from datetime import datetime
from typing import Any, BinaryIO

import requests
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
    StorageRefused,
    StorageUnavailable,
)
from magnetodb_backup.storage.body import Body
from magnetodb_backup.storage.driver import ObjectInfo, StorageDriver
from magnetodb_backup.storage.swift_access import SwiftAccess, SwiftSettings
from magnetodb_backup.storage.swift_requests import SwiftRequests, check_name
from magnetodb_backup.storage.swift_versions import SwiftAsOf, ensure_versions

_GROUP = "swift"
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
    return SwiftDriver(SwiftAccess(session, auth, settings), versions=options.versions)


class SwiftDriver(StorageDriver):
    """Stores each object as one plain Swift object; both sides check its MD5.

    With ``versions`` its containers keep replaced and deleted objects: see ``SwiftAsOf``.
    """

    def __init__(self, access: SwiftAccess, *, versions: bool = False) -> None:
        self._access, self._requests = access, SwiftRequests(access)
        self._versions = versions

    def account_url(self) -> str:
        """Return the URL of the account; asks the identity service where needed."""
        return self._access.url()

    @override
    def ensure_container(self, container: str) -> None:
        if self._versions:
            ensure_versions(self._requests, container)
            return
        self._requests.ask(
            f"creating container {container}",
            lambda url, token, conn: client.put_container(url, token, container, http_conn=conn),
        )

    @override
    def as_of(self, moment: datetime) -> StorageDriver:
        return SwiftAsOf(self._requests, moment)

    @override
    def containers(self, prefix: str) -> Iterator[str]:
        return self._requests.containers(prefix)

    @override
    def put(
        self, container: str, name: str, body: bytes | memoryview | BinaryIO, *, size: int, md5: str
    ) -> None:
        check_name(name)
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
            etag = self._requests.ask(what, send)
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
            there = self._requests.head(container, name, headers=_NEWEST)
            if there is None or there.md5 != md5:
                raise IncompleteBody(f"{what}: another request stored other bytes under this name")
        elif etag != md5:
            self.delete(container, name)
            raise IncompleteBody(f"{what}: the store has MD5 {etag}, not {md5}; it was removed")

    @override
    def read(
        self, container: str, name: str, *, offset: int = 0, length: int | None = None
    ) -> Iterator[bytes]:
        return self._requests.read(container, name, offset, length)

    @override
    def read_newest(self, container: str, name: str, *, offset: int = 0) -> Iterator[bytes]:
        return self._requests.read(container, name, offset, None, headers=_NEWEST)

    @override
    def head(self, container: str, name: str) -> ObjectInfo | None:
        return self._requests.head(container, name)

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
        check_name(name)
        with contextlib.suppress(NotFound):
            self._requests.ask(
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
            if not self._requests.ask(f"deleting container {container}", delete):
                raise Conflict(
                    f"container {container!r} has objects, or old versions of some; "
                    "delete them first"
                )

    @override
    def quota(self) -> int | None:
        found = self._requests.ask(
            "asking for the quota of the account",
            lambda url, token, conn: client.head_account(url, token, http_conn=conn),
        )
        quota = found.get("x-account-meta-quota-bytes", "")
        return int(quota) if quota.isascii() and quota.isdigit() else None

    @override
    def close(self) -> None:
        self._access.close()

    def _page(self, container: str, prefix: str, marker: str) -> tuple[ObjectInfo, ...]:
        rows = self._requests.rows(
            f"listing {container}/{prefix} after {marker!r}",
            lambda url, token, conn: client.get_container(
                url, token, container, marker=marker, prefix=prefix, http_conn=conn
            )[1],
        )
        return tuple(ObjectInfo(row["name"], int(row["bytes"]), row["hash"]) for row in rows)

    def _folder_page(self, container: str, prefix: str, marker: str) -> Any:
        return self._requests.rows(
            f"listing folders {container}/{prefix} after {marker!r}",
            lambda url, token, conn: client.get_container(
                url, token, container, marker=marker, prefix=prefix, delimiter="/", http_conn=conn
            )[1],
        )


def _cut_off(error: BaseException) -> bool:
    cause = error.__cause__
    return isinstance(cause, requests.ConnectionError) and not isinstance(cause, requests.Timeout)
