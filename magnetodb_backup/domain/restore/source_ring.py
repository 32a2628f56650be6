# SPDX-License-Identifier: Apache-2.0
"""The ring of which a backup was made, compared with the ring of the target."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from magnetodb_backup.domain.backup.manifest import BackupManifest, MissingNode, NodeShare
from magnetodb_backup.domain.coverage import members_of, strategy_of
from magnetodb_backup.domain.ring import RingMember

_BY_TOPOLOGY = "NetworkTopologyStrategy"


@dataclass(frozen=True)
class SourceRing:
    """The node backups, and the ring members without one.

    ``missing`` were to take part in the backup; ``others`` were not, since they are of other data
    centres than the backup's ``data_centers``, which are empty if it is of all.
    """

    nodes: Sequence[NodeShare]
    missing: Sequence[MissingNode] = ()
    data_centers: tuple[str, ...] = ()
    others: Sequence[MissingNode] = ()

    @classmethod
    def of(cls, manifest: BackupManifest) -> SourceRing:
        """Return the ring of a backup."""
        return cls(manifest.nodes, manifest.missing(), manifest.data_centers, manifest.other_nodes)

    def homes(self, ring: Sequence[RingMember]) -> Mapping[str, str]:
        """Return the target's host ID by the source's, for nodes with equal tokens, DC and rack."""
        by_place = {(tuple(sorted(m.tokens)), m.dc, m.rack): m.host_id for m in ring if m.tokens}
        found = {}
        for source in self.nodes:
            target = by_place.get((tuple(sorted(source.tokens)), source.dc, source.rack))
            if target is not None:
                found[source.host_id] = target
        return found

    def unlike(self, ring: Sequence[RingMember]) -> list[RingMember]:
        """Return the members of ``ring`` that are neither of a node backup nor one without.

        A node that has replaced a missing one with other tokens owns other ranges than that one,
        and so do its neighbours.
        """
        absent = (*self.missing, *self.others)
        places = {(tuple(sorted(m.tokens)), m.dc, m.rack) for m in absent if m.tokens}
        unplaced = {m.host_id for m in absent if not m.tokens}
        homes = set(self.homes(ring).values())
        return [
            m
            for m in ring
            if m.host_id not in homes
            and m.host_id not in unplaced
            and (tuple(sorted(m.tokens)), m.dc, m.rack) not in places
        ]

    def comparison(self, ring: Sequence[RingMember]) -> Comparison:
        """Return what of the ring is as it was."""
        without = len(self.missing) + len(self.others)
        is_placed = len(self.homes(ring)) == len(self.nodes) and not self.unlike(ring)
        inside = members_of(ring, self.data_centers)
        return Comparison(
            whole=is_placed and len(ring) == len(self.nodes) + without,
            inside=bool(self.data_centers) and self._own().comparison(inside).whole,
            data_centers=self.data_centers,
        )

    def _own(self) -> SourceRing:
        return SourceRing(self.nodes, self.missing)

    def members(self) -> list[RingMember]:
        """Return all members whose tokens are known, those without a node backup too."""
        own = [MissingNode(n.host_id, n.dc, n.rack, n.tokens) for n in self.nodes]
        return [
            RingMember(n.host_id, "", n.dc, n.rack, "", n.tokens)
            for n in (*own, *self.missing, *self.others)
            if n.tokens
        ]


@dataclass(frozen=True)
class Comparison:
    """Whether the ``whole`` ring is as it was, or that of the backup's data centres (``inside``).

    Then the nodes have the same tokens, data centres and racks.
    """

    whole: bool
    inside: bool
    data_centers: tuple[str, ...]

    def keeps(self, before: Mapping[str, str], now: Mapping[str, str]) -> bool:
        """Return whether each node of the backup owns what it owned, by the two replications.

        NetworkTopologyStrategy places the replicas of each data centre by itself.
        """
        if self.whole and factors(before) == factors(now):
            return True
        if not self.inside or {strategy_of(before), strategy_of(now)} != {_BY_TOPOLOGY}:
            return False
        return self._inside(before) == self._inside(now)

    def _inside(self, replication: Mapping[str, str]) -> dict[str, str]:
        return {k: v for k, v in factors(replication).items() if k in self.data_centers}


def has_replicas_outside(
    ring: Sequence[RingMember], replication: Mapping[str, str], data_centers: Collection[str]
) -> bool:
    """Return whether nodes of other data centres of the ring may have replicas of a keyspace."""
    outside = {m.dc for m in ring} - set(data_centers)
    if strategy_of(replication) == _BY_TOPOLOGY:
        return bool(outside & set(factors(replication)))
    return bool(outside)


def factors(replication: Mapping[str, str]) -> dict[str, str]:
    """Return a replication with the class's short name, so that equal ones compare equal.

    A data centre with the factor 0 has no replica, so it is left out.
    """
    return {
        k: str(v).rpartition(".")[2] if k == "class" else str(v)
        for k, v in replication.items()
        if str(v).partition("/")[0] != "0"
    }
