# SPDX-License-Identifier: Apache-2.0
"""Which token ranges of a keyspace a set of nodes holds."""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from magnetodb_backup.domain.tables import KeyspaceDescription
from magnetodb_backup.domain.topology import RingMember


@dataclass(frozen=True)
class KeyspaceCoverage:
    """Of a keyspace's token ranges, those with all replicas, and those with none, present."""

    keyspace: str
    ranges: int
    whole: int
    lost: int

    @property
    def status(self) -> str:
        """``complete``, ``partial`` (a replica of each range is there) or ``lost``."""
        if self.lost:
            return "lost"
        return "complete" if self.whole == self.ranges else "partial"


def _count(text: str) -> int:
    """Read a replication factor; ``3/1`` means three replicas, one of them transient."""
    total, _, transient = text.partition("/")
    return int(total) - int(transient or 0)


class _Ring:
    def __init__(self, members: Sequence[RingMember]) -> None:
        owners = sorted(
            ((token, m) for m in members for token in m.tokens), key=lambda owner: owner[0]
        )
        self.tokens = [token for token, _ in owners]
        self.owners = [m for _, m in owners]
        self.members = members

    def clockwise(self, token: int) -> list[RingMember]:
        """Return the distinct members in ring order from the owner of ``token``."""
        first = bisect_left(self.tokens, token) % len(self.tokens)
        return list(dict.fromkeys(self.owners[first:] + self.owners[:first]))

    def replicas(self, token: int, replication: Mapping[str, str]) -> set[str]:
        strategy = replication.get("class", "").rpartition(".")[2]
        walk = self.clockwise(token)
        if strategy == "SimpleStrategy":
            return {m.host_id for m in walk[: _count(replication.get("replication_factor", "1"))]}
        if strategy == "NetworkTopologyStrategy":
            return {
                host_id
                for dc, count in replication.items()
                if dc != "class"
                for host_id in _in_datacenter([m for m in walk if m.dc == dc], _count(count))
            }
        return {m.host_id for m in self.members}


def _in_datacenter(walk: Sequence[RingMember], count: int) -> list[str]:
    """Choose replicas as NetworkTopologyStrategy does: a rack twice only when all are in use.

    Source: org.apache.cassandra.locator.NetworkTopologyStrategy, DatacenterEndpoints.
    """
    racks = len({m.rack for m in walk})
    nodes = min(count, len(walk))
    repeats = nodes - racks  # so many nodes may be of a rack that is in use
    chosen: list[str] = []
    used: set[str] = set()
    for member in walk:
        if len(chosen) == nodes:
            break
        if member.rack in used:
            if repeats <= 0:
                continue
            repeats -= 1
        used.add(member.rack)
        chosen.append(member.host_id)
    return chosen


def coverage(
    ring: Sequence[RingMember],
    keyspaces: Sequence[KeyspaceDescription],
    present: Collection[str],
) -> tuple[KeyspaceCoverage, ...]:
    """Compute for each keyspace what the nodes with the host IDs ``present`` hold."""
    circle = _Ring(ring)
    here = set(present)
    by_replication: dict[tuple[tuple[str, str], ...], tuple[int, int, int]] = {}
    result = []
    for keyspace in keyspaces:
        key = tuple(sorted(keyspace.replication.items()))
        if key not in by_replication:
            counts: dict[str, int] = defaultdict(int)
            for token in circle.tokens:
                replicas = circle.replicas(token, keyspace.replication)
                counts["ranges"] += 1
                counts["whole"] += replicas <= here
                counts["lost"] += not replicas & here
            by_replication[key] = (counts["ranges"], counts["whole"], counts["lost"])
        result.append(KeyspaceCoverage(keyspace.name, *by_replication[key]))
    return tuple(result)
