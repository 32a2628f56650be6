# SPDX-License-Identifier: Apache-2.0
"""What a worker remembers of its node, for the time when Cassandra does not answer."""

from __future__ import annotations

import json
import logging
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from magnetodb_backup import disk
from magnetodb_backup.domain.ring import RingMember
from magnetodb_backup.errors import Unexpected
from magnetodb_backup.tasks.cluster import Member
from magnetodb_backup.tasks.codec import decode

LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class KnownNode:
    """A node as it was last seen; directories as Cassandra names them."""

    cluster: str
    member: RingMember
    data_directories: tuple[str, ...]
    commitlog_directory: str
    hints_directory: str
    saved_caches_directory: str

    def as_json(self) -> dict[str, Any]:
        """Return the form in the file."""
        return {**asdict(self), "member": self.member.as_json()}

    @classmethod
    def read(cls, text: bytes) -> KnownNode:
        """Read the JSON text of what ``as_json()`` returned.

        :raises ValueError: if it is not JSON, or a token is no number.
        :raises Unexpected: if a field is missing or has another type.
        """
        stored = decode(_StoredNode, json.loads(text))
        return cls(
            stored.cluster,
            stored.member.ring_member(),
            stored.data_directories,
            stored.commitlog_directory,
            stored.hints_directory,
            stored.saved_caches_directory,
        )


@dataclass(frozen=True)
class _StoredNode:
    """The form of a known node in the file."""

    cluster: str
    member: Member
    data_directories: tuple[str, ...]
    commitlog_directory: str
    hints_directory: str
    saved_caches_directory: str


class NodeMemory:
    """A file in the worker's state directory that only its user may read."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._kept: KnownNode | None = None

    def load(self) -> KnownNode | None:
        """Return what was last kept, by an earlier process too; None for nothing that is usable."""
        if self._kept is None:
            try:
                self._kept = KnownNode.read(self._path.read_bytes())
            except FileNotFoundError:
                return None
            except (OSError, ValueError, Unexpected) as error:
                LOG.warning("%s cannot be used: %s", self._path, error)
                return None
        return self._kept

    def keep(self, known: KnownNode) -> None:
        """Write if it is new; a disk that does not take it is no reason to fail."""
        if known == self.load():
            return
        text = json.dumps(known.as_json(), indent=1)
        try:
            disk.write_file(self._path, text.encode(), mode=0o600)
        except OSError as error:
            LOG.warning("%s cannot be written: %s", self._path, error.strerror)
        else:
            self._kept = known
