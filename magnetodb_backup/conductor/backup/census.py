# SPDX-License-Identifier: Apache-2.0
"""The census of a backup: which nodes take part, and of which keyspaces they have a copy."""

from __future__ import annotations

import time
from dataclasses import dataclass

from magnetodb_backup.conductor.backup.commit import coverage_of
from magnetodb_backup.conductor.backup.nodes import BackupNodes
from magnetodb_backup.conductor.census import (
    Census,
    backup_remedies,
    require_all,
    require_in_ring,
    take_census,
)
from magnetodb_backup.domain.backup.data_centers import excluded_keyspaces, require_known
from magnetodb_backup.domain.backup.records import Backup
from magnetodb_backup.domain.backup.status import Phase
from magnetodb_backup.domain.tables import Selection
from magnetodb_backup.errors import RingDiffers
from magnetodb_backup.tasks.backup import Describe, NodeDescription


@dataclass(frozen=True)
class BackupCensus:
    """The census, the ring as a node has ``seen`` it, and the keyspaces that are left out."""

    census: Census
    seen: NodeDescription
    excluded: tuple[str, ...]


def take_backup_census(nodes: BackupNodes, backup: Backup, selection: Selection) -> BackupCensus:
    """Match the ring, or the backup's data centres, with the workers.

    Missing workers are waited for until the worker timeout, those that fell silent longer.

    :raises NotFound: for a data centre that the ring does not have.
    :raises InvalidValue: if the data centres have no complete copy of a keyspace.
    :raises MissingWorker: naming the nodes without a usable worker, unless partial backups are
        allowed and each token range has a replica on another node.
    :raises RingDiffers: if the ring lacks a node, or a node knows a peer in part.
    """
    workers = nodes.any_worker
    deadline = workers.deadline()
    while True:
        late = time.monotonic() > deadline
        try:
            seen = nodes.on_any(
                Phase.CENSUS.value, lambda host_id: Describe(**nodes.fields(host_id))
            )
            ring = [member.ring_member() for member in seen.ring]
            require_known(backup.data_centers, {m.dc for m in ring}, backup.cluster)
            reported = workers.nodes()
            census = take_census(ring, reported, backup.data_centers)
            missing = {member.host_id for member, _ in census.missing}
            if not (missing or census.outside) or (
                late and workers.is_late(deadline, reported, missing)
            ):
                break
        except RingDiffers:  # a node that joins is known in part for a moment
            if late:
                raise
        workers.wait_a_moment(deadline)
    require_in_ring(census, seen.member.address)
    excluded = excluded_keyspaces(ring, selection, backup.data_centers, backup.scope)
    if not backup.allow_partial:
        require_all(census, backup_remedies(census))
    present = {m.host_id for m, _ in census.present}
    coverage_of(ring, selection.without(excluded), present, backup.data_centers)
    return BackupCensus(census, seen, excluded)
