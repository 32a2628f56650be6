# SPDX-License-Identifier: Apache-2.0
"""Computes which token ranges of a keyspace a set of nodes has."""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, islice

from magnetodb_backup.domain.ring import RingMember
from magnetodb_backup.domain.tables import KeyspaceDescription

# A keyspace without a complete copy in the data centres of a backup is no part of it.
EXCLUDED = "excluded"
# How many tokens Murmur3Partitioner and RandomPartitioner have.
_MURMUR, _RANDOM = 1 << 64, 1 << 127


@dataclass(frozen=True)
class KeyspaceCoverage:
    """The token ranges of a keyspace: how many have all replicas present, how many have none."""

    keyspace: str
    ranges: int
    whole: int
    lost: int

    @property
    def status(self) -> str:
        """``complete``, ``partial`` (each range has at least one replica) or ``lost``."""
        if self.lost:
            return "lost"
        return "complete" if self.whole == self.ranges else "partial"


def _factor(text: str) -> tuple[int, int]:
    """Read a replication factor; ``3/1`` means three replicas, one of them transient."""
    total, _, transient = text.partition("/")
    return int(total), int(transient or 0)


class _Datacenter:
    """Chooses replicas as NetworkTopologyStrategy does: a rack twice only when all are in use.

    Source: org.apache.cassandra.locator.NetworkTopologyStrategy, DatacenterEndpoints.
    """

    def __init__(self, members: Sequence[RingMember], factor: str) -> None:
        total, transient = _factor(factor)
        self._wanted = min(total, len(members))
        self._full = self._wanted - max(transient - (total - self._wanted), 0)
        # So many nodes may be of a rack that is in use.
        self._repeats = total - len({m.rack for m in members})
        self._racks: set[str] = set()
        self._chosen: list[str] = []

    def offer(self, member: RingMember) -> None:
        """Choose the next node of the ring, or skip it."""
        if self.done or (member.rack in self._racks and self._repeats <= 0):
            return
        self._repeats -= member.rack in self._racks
        self._racks.add(member.rack)
        self._chosen.append(member.host_id)

    @property
    def done(self) -> bool:
        return len(self._chosen) == self._wanted

    @property
    def full(self) -> list[str]:
        """The chosen nodes that are not transient replicas."""
        return self._chosen[: self._full]


class _Ring:
    def __init__(self, members: Sequence[RingMember]) -> None:
        owners = sorted(
            ((token, m) for m in members for token in m.tokens), key=lambda owner: owner[0]
        )
        self.tokens = [token for token, _ in owners]
        self._owners = [m for _, m in owners]
        self._everyone = {m.host_id for m in members}
        self._by_dc: dict[str, list[RingMember]] = defaultdict(list)
        for member in members:
            if member.tokens:
                self._by_dc[member.dc].append(member)

    def _clockwise(self, token: int) -> Iterator[RingMember]:
        """Yield the distinct members in ring order from the owner of ``token``."""
        first = bisect_left(self.tokens, token)
        seen = set()
        for owner in chain(islice(self._owners, first, None), islice(self._owners, first)):
            if owner.host_id not in seen:
                seen.add(owner.host_id)
                yield owner

    def replicas(self, token: int, replication: Mapping[str, str]) -> set[str]:
        """Return the host IDs of the nodes that must hold the range which ends at ``token``.

        If the strategy is unknown or assigns the range to no node, any node may have data.
        """
        return self.known_replicas(token, replication) or self._everyone

    def known_replicas(self, token: int, replication: Mapping[str, str]) -> set[str]:
        """Return the host IDs of the nodes that are known to hold the range; empty if none is."""
        match strategy_of(replication):
            case "SimpleStrategy":
                total, transient = _factor(replication.get("replication_factor", "1"))
                return {m.host_id for m in islice(self._clockwise(token), total - transient)}
            case "NetworkTopologyStrategy":
                return self._by_topology(token, replication)
            case "EverywhereStrategy":
                return self._everyone
        return set()

    def _by_topology(self, token: int, replication: Mapping[str, str]) -> set[str]:
        choices = {
            dc: _Datacenter(self._by_dc[dc], factor)
            for dc, factor in replication.items()
            if dc != "class" and dc in self._by_dc
        }
        for member in self._clockwise(token):
            if member.dc in choices:
                choices[member.dc].offer(member)
            if all(choice.done for choice in choices.values()):
                break
        return {host_id for choice in choices.values() for host_id in choice.full}


def strategy_of(replication: Mapping[str, str]) -> str:
    """Return the name of a replication's class without its package."""
    return replication.get("class", "").rpartition(".")[2]


def members_of(ring: Sequence[RingMember], data_centers: Collection[str]) -> tuple[RingMember, ...]:
    """Return the members of these data centres; all members if none is named."""
    return tuple(m for m in ring if not data_centers or m.dc in data_centers)


def coverage(
    ring: Sequence[RingMember],
    keyspaces: Sequence[KeyspaceDescription],
    present: Collection[str],
    data_centers: Collection[str] = (),
) -> tuple[KeyspaceCoverage, ...]:
    """Compute the coverage of each keyspace by the nodes with the host IDs ``present``.

    With ``data_centers`` only the replicas there count, as if there were no other ones. A range
    that is not known to have a replica there is lost.
    """
    circle = _Ring(ring)
    here = set(present)
    there = {m.host_id for m in members_of(ring, data_centers)}
    by_replication: dict[tuple[tuple[str, str], ...], tuple[int, int, int]] = {}
    result = []
    for keyspace in keyspaces:
        key = tuple(sorted(keyspace.replication.items()))
        if key not in by_replication:
            counts: dict[str, int] = defaultdict(int)
            for token in circle.tokens:
                if data_centers:
                    replicas = circle.known_replicas(token, keyspace.replication) & there
                else:
                    replicas = circle.replicas(token, keyspace.replication)
                counts["ranges"] += 1
                counts["whole"] += bool(replicas) and replicas <= here
                counts["lost"] += not replicas & here
            by_replication[key] = (counts["ranges"], counts["whole"], counts["lost"])
        result.append(KeyspaceCoverage(keyspace.name, *by_replication[key]))
    return tuple(result)


def covering_nodes(
    ring: Sequence[RingMember], replication: Mapping[str, str], among: Collection[str]
) -> tuple[str, ...]:
    """Return few of the host IDs ``among`` that together have a replica of each token range.

    Greedy: the next node is the one with most of the missing ranges. All are returned if it is not
    known which of them have a range.
    """
    circle, chosen_from = _Ring(ring), set(among)
    missing = {
        token: circle.known_replicas(token, replication) & chosen_from for token in circle.tokens
    }
    if not all(missing.values()):
        return tuple(sorted(chosen_from))
    chosen: list[str] = []
    while missing:
        counts: dict[str, int] = defaultdict(int)
        for replicas in missing.values():
            for host_id in replicas:
                counts[host_id] += 1
        best = min(counts, key=lambda host_id: (-counts[host_id], host_id))
        chosen.append(best)
        missing = {token: found for token, found in missing.items() if best not in found}
    return tuple(chosen)


def replica_shares(
    ring: Sequence[RingMember], replication: Mapping[str, str]
) -> Mapping[str, float]:
    """Return the part of all replicas of a keyspace that each node has, by the width of ranges."""
    circle = _Ring(ring)
    tokens = circle.tokens
    if not tokens:
        return {}
    whole = _MURMUR if tokens[0] >= -_MURMUR // 2 and tokens[-1] < _MURMUR // 2 else _RANDOM
    widths: dict[str, int] = defaultdict(int)
    for before, token in zip([tokens[-1], *tokens], tokens, strict=False):
        for host_id in circle.replicas(token, replication):
            widths[host_id] += (token - before) % whole or whole
    total = sum(widths.values())
    return {host_id: width / total for host_id, width in widths.items()}
