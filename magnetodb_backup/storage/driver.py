# SPDX-License-Identifier: Apache-2.0
"""What a storage driver does: the interface of the ``magnetodb_backup.storage`` plugins."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO, Protocol


@dataclass(frozen=True)
class ObjectInfo:
    """An object as listing or HEAD tells: ``size`` in bytes, ``md5`` hexadecimal."""

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
        """Store the whole ``body`` of ``size`` bytes; afterwards it is there, durable and proven.

        A file body is read from its start, each time that the request is repeated.

        :raises IncompleteBody: if what arrived does not have this MD5 (nothing is stored then).
        """

    def read(
        self, container: str, name: str, *, offset: int = 0, length: int | None = None
    ) -> Iterator[bytes]:
        """Yield the object's bytes, or ``length`` of them from ``offset``.

        :raises NotFound: if there is no such object.
        :raises IncompleteBody: at the end, if fewer bytes came than were announced or asked for.
        """

    def head(self, container: str, name: str) -> ObjectInfo | None:
        """Return what the store knows of the object, None if there is none."""

    def list(self, container: str, prefix: str = "") -> Iterator[ObjectInfo]:
        """Yield all objects whose name starts with ``prefix``, by name; none if no container."""

    def delete(self, container: str, name: str) -> None:
        """Remove the object; it may be gone already."""

    def close(self) -> None:
        """Release connections."""
