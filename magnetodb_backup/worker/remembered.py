# SPDX-License-Identifier: Apache-2.0
"""What a worker remembers of its node, for the time when Cassandra does not answer."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from magnetodb_backup import disk
from magnetodb_backup.domain.ring import RingMember

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
    def from_json(cls, data: Mapping[str, Any]) -> KnownNode:
        """Read what ``as_json()`` returned; errors of Python where it is something else."""
        return cls(
            cluster=str(data["cluster"]),
            member=RingMember.from_json(data["member"]),
            data_directories=tuple(str(d) for d in data["data_directories"]),
            commitlog_directory=str(data["commitlog_directory"]),
            hints_directory=str(data["hints_directory"]),
            saved_caches_directory=str(data["saved_caches_directory"]),
        )


class NodeMemory:
    """A file in the worker's state directory that only its user may read."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._kept: KnownNode | None = None

    def load(self) -> KnownNode | None:
        """Return what was last kept, by an earlier process too; None for nothing that is usable."""
        if self._kept is None:
            try:
                self._kept = KnownNode.from_json(json.loads(self._path.read_bytes()))
            except FileNotFoundError:
                return None
            except (OSError, ValueError, KeyError, TypeError) as error:
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
