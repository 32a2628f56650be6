# SPDX-License-Identifier: Apache-2.0
"""Swift's object versioning: containers that keep every version, and views of an earlier state.

With ``X-Versions-Enabled: true`` a PUT keeps the version that it replaces, and a DELETE without
``version-id`` only adds a delete marker.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from decimal import Decimal
from itertools import groupby
from typing import Any, BinaryIO, NoReturn
from urllib.parse import quote

from swiftclient import client
from typing_extensions import override

from magnetodb_backup.errors import NotFound, StorageRefused
from magnetodb_backup.storage.driver import ObjectInfo, StorageDriver
from magnetodb_backup.storage.swift_requests import SwiftRequests

LOG = logging.getLogger(__name__)
_ENABLED = "x-versions-enabled"
_DELETED = "swift_versions_deleted=1"  # in the content type of delete markers
_UNVERSIONED = "null"  # the version ID of an object that was stored without versioning
_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
_REMEDY = (
    "set allow_object_versioning = true in the section [filter:versioned_writes] of Swift's "
    "proxies, or [swift] versions = false to do without"
)


def ensure_versions(requests: SwiftRequests, container: str) -> None:
    """Create a container that keeps versions, or let an existing one keep them from now on.

    A container that keeps them already is only looked at, so that an identity may do this that
    may not create or change containers.

    :raises StorageRefused: if the store does not keep versions, with the remedy.
    """
    if _keeps_versions(requests, container):
        return
    what = f"creating container {container} with versions"
    try:
        requests.ask(
            what,
            lambda url, token, conn: client.put_container(
                url, token, container, headers={_ENABLED: "true"}, http_conn=conn
            ),
        )
    except StorageRefused as error:
        raise StorageRefused(f"{error}; {_REMEDY}") from error
    if not _keeps_versions(requests, container):
        raise StorageRefused(f"{what}: the store ignores X-Versions-Enabled; {_REMEDY}")
    LOG.info("container %s keeps the versions of its objects from now on", container)


def _keeps_versions(requests: SwiftRequests, container: str) -> bool:
    headers: Mapping[str, str] = {}
    with contextlib.suppress(NotFound):
        headers = requests.ask(
            f"looking at container {container}",
            lambda url, token, conn: client.head_container(url, token, container, http_conn=conn),
        )
    return headers.get(_ENABLED, "").lower() == "true"


@dataclass(frozen=True)
class _Version:
    """A version of an object; ``at`` is when it was stored, in microseconds since 1970."""

    info: ObjectInfo
    id: str
    at: int
    deleted: bool

    @classmethod
    def of(cls, row: Mapping[str, Any]) -> _Version:
        """Read a row of a listing of versions."""
        version_id = str(row["version_id"])
        return cls(
            ObjectInfo(row["name"], int(row["bytes"]), row["hash"]),
            version_id,
            _stored_at(version_id, row["last_modified"]),
            _DELETED in row.get("content_type", ""),
        )


def _stored_at(version_id: str, last_modified: str) -> int:
    """Return when a version was stored.

    An object of the time before versioning is copied when it is replaced: its ``last_modified``
    is the time of the copy then, its version ID still that of the object.
    """
    if version_id == _UNVERSIONED:
        return _microseconds(datetime.fromisoformat(last_modified).replace(tzinfo=timezone.utc))
    return int(Decimal(version_id.partition("_")[0]) * 1_000_000)


def _microseconds(moment: datetime) -> int:
    return (moment - _EPOCH) // timedelta(microseconds=1)


class SwiftAsOf(StorageDriver):
    """The store as it was at ``moment`` (with a time zone), to be read only.

    Each object is its newest version that was stored no later; if that is a delete marker, there
    is no object. Containers are those of today: Swift deletes none that has versions.
    """

    def __init__(self, requests: SwiftRequests, moment: datetime) -> None:
        self._requests, self._moment = requests, moment
        self._limit = _microseconds(moment)

    @override
    def containers(self, prefix: str) -> Iterator[str]:
        return self._requests.containers(prefix)

    @override
    def read(
        self, container: str, name: str, *, offset: int = 0, length: int | None = None
    ) -> Iterator[bytes]:
        version = self._find(container, name)
        if version is None:
            raise NotFound(
                f"there was no object {name!r} in container {container!r} at {self._moment}"
            )
        yield from self._requests.read(container, name, offset, length, query=_query(version))

    @override
    def head(self, container: str, name: str) -> ObjectInfo | None:
        version = self._find(container, name)
        if version is None:
            return None
        return self._requests.head(container, name, query=_query(version))

    @override
    def list(self, container: str, prefix: str = "") -> Iterator[ObjectInfo]:
        for version in self._chosen(container, prefix):
            yield version.info

    @override
    def as_of(self, moment: datetime) -> StorageDriver:
        return SwiftAsOf(self._requests, min(moment, self._moment))

    @override
    def ensure_container(self, container: str) -> None:
        self._refuse(f"create container {container}")

    @override
    def put(
        self, container: str, name: str, body: bytes | memoryview | BinaryIO, *, size: int, md5: str
    ) -> None:
        self._refuse(f"store {container}/{name}")

    @override
    def delete(self, container: str, name: str) -> None:
        self._refuse(f"delete {container}/{name}")

    @override
    def delete_container(self, container: str) -> None:
        self._refuse(f"delete container {container}")

    @override
    def close(self) -> None:
        """Keep the connections: they are those of the driver that the view was made by."""

    def _refuse(self, what: str) -> NoReturn:
        raise StorageRefused(
            f"cannot {what}: the store as it was at {self._moment} can only be read"
        )

    def _find(self, container: str, name: str) -> _Version | None:
        for page in self._pages(container, name):
            # Pages begin with the newest versions, so that no later page has a newer one.
            if known := [v for v in page if v.info.name == name and v.at <= self._limit]:
                return _newest(known)
        return None

    def _chosen(self, container: str, prefix: str) -> Iterator[_Version]:
        """Yield the version of each object that existed, by name."""
        versions = (version for page in self._pages(container, prefix) for version in page)
        for _, of_one in groupby(versions, key=lambda version: version.info.name):
            known = [version for version in of_one if version.at <= self._limit]
            if known and (newest := _newest(known)):
                yield newest

    def _pages(self, container: str, prefix: str) -> Iterator[tuple[_Version, ...]]:
        """Yield all versions of all objects, by name, the newest first."""
        last: _Version | None = None
        while page := self._page(container, prefix, last):
            if last is not None and not _follows(page[0], last):
                raise StorageRefused(
                    f"listing versions in {container}: {page[0].info.name!r} {page[0].id} after "
                    f"{last.info.name!r} {last.id}"
                )
            yield page
            last = page[-1]

    def _page(self, container: str, prefix: str, last: _Version | None) -> tuple[_Version, ...]:
        answer = self._requests.rows(
            f"listing versions {container}/{prefix}",
            lambda url, token, conn: client.get_container(
                url,
                token,
                container,
                marker=last and last.info.name,
                version_marker=last and last.id,
                prefix=prefix,
                query_string="versions=true",
                http_conn=conn,
            ),
        )
        if not answer:
            return ()
        headers, rows = answer
        if _ENABLED not in headers:
            raise StorageRefused(
                f"container {container} has never kept versions, so its earlier states are lost; "
                f"for later: {_REMEDY.partition(',')[0]}, and [swift] versions = true"
            )
        return tuple(_Version.of(row) for row in rows)


def _newest(versions: Sequence[_Version]) -> _Version | None:
    """Return the newest of the versions of an object, None if it is a delete marker."""
    # Not the first one: a lagging listing has the newest version last.
    newest = max(versions, key=lambda version: version.at)
    return None if newest.deleted else newest


def _query(version: _Version) -> str:
    return f"version-id={quote(version.id, safe='')}"


def _follows(version: _Version, last: _Version) -> bool:
    """Return whether a version comes after the last one of the page before."""
    if version.info.name != last.info.name:
        return version.info.name > last.info.name
    return last.id == _UNVERSIONED or version.at < last.at
