# SPDX-License-Identifier: Apache-2.0
"""Proves that all nodes of a backup see the ring of the census, and one schema."""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping

from magnetodb_backup.conductor.backup.nodes import BackupNodes
from magnetodb_backup.conductor.job import Results, StartAgain
from magnetodb_backup.domain.backup.status import Phase
from magnetodb_backup.domain.ring import ring_differences, ring_digest
from magnetodb_backup.errors import RingDiffers
from magnetodb_backup.tasks.backup import Describe, NodeDescription, SchemaSeen
from magnetodb_backup.tasks.backup_steps import (
    CensusTaken,
    NodeResults,
    ResolveDone,
    SchemaBefore,
    SnapshotDone,
)


def require_one_ring(
    nodes: BackupNodes, results: Results, phase: Phase, digests: Mapping[str, str]
) -> Mapping[str, str]:
    """Compare the ring that each node saw in a phase with that of the census.

    ``digests`` are by host ID. A worker of an older release reports none: it is asked for the
    whole ring of its node instead, as is a node whose digest differs, to show the difference.
    Return the errors of nodes that do not answer and so leave the backup, by host ID.

    :raises StartAgain: if a node sees another ring.
    """
    census = [member.ring_member() for member in results.of(CensusTaken).ring]
    expected = ring_digest(census)
    doubtful = {host_id for host_id, digest in digests.items() if digest != expected}
    rings = _rings(nodes, results, phase, doubtful)
    for description in rings.results.values():
        ring = [member.ring_member() for member in description.ring]
        if difference := ring_differences(ring, census):
            raise StartAgain(
                f"node {description.member.address} does not see the ring of the census: "
                f"{difference}; compare nodetool status of the nodes"
            )
    changed = [h for h in doubtful if digests[h] and h not in rings.failed]
    if changed:
        raise StartAgain(
            f"the ring changed during {phase.value}, as seen by {', '.join(sorted(changed))}"
        )
    return rings.failed


def _rings(
    nodes: BackupNodes, results: Results, phase: Phase, hosts: Collection[str]
) -> NodeResults[NodeDescription]:
    """Ask nodes for the rings that they see.

    :raises StartAgain: if a node knows the ring in part.
    """
    if not hosts:
        return NodeResults({}, {})
    try:
        return nodes.on_all(
            results,
            phase,
            lambda host_id: Describe(**nodes.fields(host_id)),
            hosts=hosts,
            step=f"{phase.value}_ring:{time.time_ns()}",
        )
    except RingDiffers as error:
        raise StartAgain(str(error)) from None


def require_same_tables(results: Results, seen: SchemaSeen) -> None:
    """Compare what the scope selects from the schema with what it selected first.

    Workers of older releases return no selection.

    :raises StartAgain: if they differ.
    """
    if seen.selection not in (None, results.of(ResolveDone).selection):
        raise StartAgain("selected tables were created or dropped meanwhile")


def require_same_schema(results: Results, seen: SchemaSeen) -> None:
    """Compare the schema after the snapshots with the one that is stored.

    What counts is the schema of the selected keyspaces; where the two answers do not both have its
    digest, by Cassandra of one release, it is the whole schema. It is the same if its version is.

    :raises StartAgain: if they differ.
    """
    before = results.of(SchemaBefore)
    comparable = before.selected_sha256 and seen.selected_sha256 and before.release == seen.release
    same = (
        before.selected_sha256 == seen.selected_sha256
        if comparable
        else before.sha256 == seen.sha256
    )
    if not same and not _same(before.own_version, seen.own_version):
        raise StartAgain("the schema changed while the snapshot was taken")
    require_same_tables(results, seen)
    _require_one_schema(results, seen)


def _require_one_schema(results: Results, seen: SchemaSeen) -> None:
    """Compare the schemas that the nodes saw after their snapshots with the one that is stored.

    Nodes with one schema version have one schema, even if they describe it by different texts.
    Other nodes are compared by these texts if they run the same release of Cassandra, and always by
    names and IDs of the selected tables. Workers of older releases of this service report neither;
    all nodes had one schema version then.

    :raises StartAgain: if they are not the same.
    """
    digests = {seen.release: seen.selected_sha256} if seen.selected_sha256 else {}
    tables = results.of(ResolveDone).selection.digest()
    snapshots = results.of(SnapshotDone).results
    for present in results.of(CensusTaken).present:
        member = present.member
        snapshot = snapshots.get(member.host_id)
        if snapshot is None or _same(snapshot.schema_version, seen.own_version):
            continue
        if snapshot.tables_sha256 not in ("", tables):
            raise StartAgain(
                f"node {member.address} has other tables in the scope of the backup than others"
            )
        if not snapshot.schema_sha256:
            continue
        if digests.setdefault(member.version, snapshot.schema_sha256) != snapshot.schema_sha256:
            raise StartAgain(
                f"node {member.address} has another schema of the selected keyspaces than others"
            )


def _same(version: str, other: str) -> bool:
    """Return whether two known schema versions are the same one."""
    return bool(version) and version == other
