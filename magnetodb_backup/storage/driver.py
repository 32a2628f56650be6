# SPDX-License-Identifier: Apache-2.0
"""The interface of storage drivers: plugins of ``magnetodb_backup.storage``."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import BinaryIO, Protocol

from magnetodb_backup.errors import InvalidValue


@dataclass(frozen=True)
class ObjectInfo:
    """An object as a listing or HEAD reports it: ``size`` in bytes, ``md5`` hexadecimal."""

    name: str
    size: int
    md5: str


class StorageDriver(Protocol):
    """Moves bytes. Safe for use by several threads. Containers and names come validated.

    Every method may raise StorageUnavailable (Transient), AccessDenied, NoSpace (507 and quota)
    or StorageRefused (Permanent); no error text holds a secret.
    """

    def ensure_container(self, container: str) -> None:
        """Create the container where it does not exist."""

    def containers(self, prefix: str) -> Iterator[str]:
        """Yield the names of all containers that start with ``prefix``, in order."""

    def put(
        self, container: str, name: str, body: bytes | memoryview | BinaryIO, *, size: int, md5: str
    ) -> None:
        """Store the whole ``body`` of ``size`` bytes; on return it is durable and its MD5 checked.

        A file body is read from its start, each time that the request is repeated.

        :raises IncompleteBody: if the received bytes do not have this MD5; nothing is stored then.
        """

    def read(
        self, container: str, name: str, *, offset: int = 0, length: int | None = None
    ) -> Iterator[bytes]:
        """Yield the object's bytes, or ``length`` of them from ``offset``.

        :raises NotFound: if there is no such object.
        :raises IncompleteBody: at the end, if the body is shorter than announced.
        :raises ObjectTooShort: at the end, if the object itself ends before the requested bytes.
        """

    def read_newest(self, container: str, name: str, *, offset: int = 0) -> Iterator[bytes]:
        """Yield the object's bytes from ``offset``, as they were last stored.

        This is for names that are stored again with other bytes. A store with several copies may
        answer ``read()`` from an older one. The errors are those of ``read()``.
        """
        return self.read(container, name, offset=offset)

    def head(self, container: str, name: str) -> ObjectInfo | None:
        """Return name, size and MD5 of the object; None if it does not exist."""

    def list(self, container: str, prefix: str = "") -> Iterator[ObjectInfo]:
        """Yield all objects whose name starts with ``prefix``, by name.

        A container that does not exist has no objects.
        """

    def folders(self, container: str, prefix: str) -> Iterator[str]:
        """Yield the different beginnings of the names that start with ``prefix``, in order.

        A beginning reaches up to the first slash after ``prefix``, and includes it. A store that
        can list them needs no listing of all objects.
        """
        last = ""
        for info in self.list(container, prefix):
            folder, slash, _ = info.name[len(prefix) :].partition("/")
            if slash and folder != last:
                last = folder
                yield f"{prefix}{folder}/"

    def delete(self, container: str, name: str) -> None:
        """Delete the object; one that does not exist is no error."""

    def delete_container(self, container: str) -> None:
        """Delete an empty container; one that does not exist is no error.

        :raises Conflict: if it has objects; nothing is deleted then.
        """

    def as_of(self, moment: datetime) -> StorageDriver:
        """Return the store as it was at ``moment`` (with a time zone), to be read only.

        What would change the view raises StorageRefused. It shares the connections of this driver,
        which must not be closed before.

        :raises InvalidValue: if the store keeps no earlier versions of objects.
        """
        raise InvalidValue(
            f"{type(self).__name__} keeps no earlier versions of objects, so the state of "
            f"{moment} is lost; only Swift keeps them, with [swift] versions = true"
        )

    def quota(self) -> int | None:
        """Return how many bytes the account may hold; None without a quota, or if none is shown."""
        return None

    def close(self) -> None:
        """Release connections."""
