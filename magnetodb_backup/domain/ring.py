# SPDX-License-Identifier: Apache-2.0
"""The ring as Cassandra sees it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class RingMember:
    """One Cassandra node: ``tokens`` are sorted."""

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


def ring_digest(ring: Iterable[RingMember]) -> str:
    """Return the SHA-256 of a ring's host IDs and tokens; addresses and versions do not count."""
    digest = hashlib.sha256()
    for member in sorted(ring, key=lambda m: m.host_id):
        digest.update(f"{member.host_id} {' '.join(map(str, member.tokens))}\n".encode())
    return digest.hexdigest()


def ring_differences(seen: Iterable[RingMember], expected: Iterable[RingMember]) -> str:
    """Return how a ring differs from another one, as a text; empty if it does not."""
    have, want = ({m.host_id: m for m in ring} for ring in (seen, expected))
    found = [f"it lacks {_named(want[h])}" for h in sorted(set(want) - set(have))]
    found += [f"it also has {_named(have[h])}" for h in sorted(set(have) - set(want))]
    found += [
        f"it has other tokens of {_named(have[h])}"
        for h in sorted(set(have) & set(want))
        if have[h].tokens != want[h].tokens
    ]
    return "; ".join(found)


def peer_remedy(peer: str, node: str) -> str:
    """Return what to do about a row of ``peer`` in ``node``'s system.peers_v2 that may be stale."""
    return (
        f"compare it with nodetool status: if {peer} is a member of the ring, restart Cassandra on "
        f"{node}; if it is not, run nodetool removenode or nodetool assassinate for it, or delete "
        f"the row with peer = '{peer}' from system.peers_v2 on {node}"
    )


def _named(member: RingMember) -> str:
    return f"{member.address} (host ID {member.host_id})"


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
    marks the last report of a worker that ends in good order. ``mode`` is NORMAL, LEAVING … as the
    node's gossip has it; empty where Cassandra does not show it.
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
    mode: str = ""

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
            mode=str(data.get("mode", "")),
        )
