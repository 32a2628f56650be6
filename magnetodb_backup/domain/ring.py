# SPDX-License-Identifier: Apache-2.0
"""The ring as Cassandra sees it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class RingMember:
    """One Cassandra node: ``tokens`` are Murmur3 tokens (signed 64 bit), sorted."""

    host_id: str
    address: str
    dc: str
    rack: str
    version: str
    tokens: tuple[int, ...]
    schema_version: str = ""

    def as_json(self) -> dict[str, Any]:
        """Return the form of the member on the bus, with tokens as text."""
        return {**asdict(self), "tokens": [str(t) for t in self.tokens]}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> RingMember:
        """Read what ``as_json()`` returned."""
        return cls(**{**data, "tokens": tuple(int(t) for t in data["tokens"])})


@dataclass(frozen=True)
class DirectorySpace:
    """A data directory and the space of its file system, in bytes."""

    path: str
    free: int
    total: int


@dataclass(frozen=True)
class NodeReport:
    """A worker's report on its node; sent with every heartbeat.

    ``problem`` says why the node cannot be backed up now, and is empty otherwise; it is ``down`` if
    that is because Cassandra does not answer: ``member`` is then what was last seen. ``stopping``
    marks the last report of a worker that ends in good order.
    """

    worker_id: str
    cluster: str
    hostname: str
    member: RingMember | None
    directories: tuple[DirectorySpace, ...]
    node_control: str
    problem: str = ""
    stopping: bool = False
    down: bool = False

    def as_json(self) -> dict[str, Any]:
        """Return the form of the report on the bus."""
        return {**asdict(self), "member": self.member.as_json() if self.member else None}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> NodeReport:
        """Read what ``as_json()`` returned."""
        member = data.get("member")
        return cls(
            worker_id=str(data["worker_id"]),
            cluster=str(data["cluster"]),
            hostname=str(data["hostname"]),
            member=RingMember.from_json(member) if member else None,
            directories=tuple(DirectorySpace(**d) for d in data["directories"]),
            node_control=str(data["node_control"]),
            problem=str(data.get("problem", "")),
            stopping=bool(data.get("stopping", False)),
            down=bool(data.get("down", False)),
        )
