# SPDX-License-Identifier: Apache-2.0
"""The commit: prove that every node manifest is stored, then write the backup manifest.

It is two steps. The first one stores the text of the manifest in the database; the second one
writes that text, so each conductor that runs it writes identical bytes.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import asdict
from datetime import datetime, timezone

from magnetodb_backup.conductor.backup.fingerprints import fingerprint_notes
from magnetodb_backup.conductor.backup.lost_packs import lost_packs_notes
from magnetodb_backup.conductor.backup.nodes import selected
from magnetodb_backup.conductor.job import Results
from magnetodb_backup.database import Database
from magnetodb_backup.domain.backup.from_manifest import notes_of
from magnetodb_backup.domain.backup.manifest import (
    BackupManifest,
    MissingNode,
    NodeShare,
    StoredObject,
)
from magnetodb_backup.domain.backup.records import Backup
from magnetodb_backup.domain.backup.status import BackupStatus
from magnetodb_backup.domain.coverage import EXCLUDED, KeyspaceCoverage, coverage, members_of
from magnetodb_backup.domain.ring import RingMember
from magnetodb_backup.domain.tables import Selection
from magnetodb_backup.errors import CorruptObject, MissingWorker, Unexpected
from magnetodb_backup.repository.cluster import ClusterRepository
from magnetodb_backup.repository.format.manifests import (
    backup_manifest_bytes,
    parse_backup_manifest,
)
from magnetodb_backup.tasks.backup import SnapshotTaken, Uploaded
from magnetodb_backup.tasks.backup_steps import (
    CensusTaken,
    CommitDone,
    CommitPlan,
    FingerprintsAfterDone,
    ReleaseDone,
    ResolveDone,
    SchemaBefore,
    SnapshotDone,
    UploadDone,
)

_SHOWN = 10  # tables in a note


def coverage_of(
    ring: Sequence[RingMember],
    selection: Selection,
    present: Collection[str],
    data_centers: Collection[str],
) -> tuple[KeyspaceCoverage, ...]:
    """Compute what the ``present`` host IDs cover of each selected keyspace.

    :raises MissingWorker: if a token range has no replica among them.
    """
    result = coverage(ring, selection.keyspaces, present, data_centers)
    lost = [c for c in result if c.status == "lost"]
    if lost:
        members = members_of(ring, data_centers)
        absent = ", ".join(m.address for m in members if m.host_id not in present)
        raise MissingWorker(
            f"without {absent} no replica is left of some token ranges of the keyspaces "
            f"{', '.join(c.keyspace for c in lost)}; bring one of these nodes back"
        )
    return result


def plan_commit(repository: ClusterRepository, backup: Backup, results: Results) -> CommitPlan:
    """Read what the workers have stored, and return the text of the backup manifest.

    :raises CorruptObject: if a node manifest or the schema is not what its worker stored.
    :raises MissingWorker: if the node backups cover too little.
    """
    census = results.of(CensusTaken)
    ring = [m.ring_member() for m in census.ring]
    members = members_of(ring, backup.data_centers)
    taking_part = {m.host_id for m in members}
    selection = selected(results).selection()
    uploads, snapshots = results.of(UploadDone).results, results.of(SnapshotDone).results
    shares = tuple(
        _share(repository, backup.id, upload, snapshots[host_id])
        for host_id, upload in sorted(uploads.items())
    )
    missing = _places(m for m in members if m.host_id not in uploads)
    covered = coverage_of(ring, selection, uploads, backup.data_centers)
    whole = not missing and not any(s.corrupt_files for s in shares)
    manifest = BackupManifest(
        backup_id=backup.id,
        name=backup.name,
        cluster=backup.cluster,
        status=(BackupStatus.CREATED if whole else BackupStatus.PARTIAL).value,
        created_at=backup.created_at.isoformat(),
        committed_at=datetime.now(timezone.utc).isoformat(),
        scope=dict(backup.scope),
        selection=selection.as_json(),
        schema=_schema(repository, backup.id, results),
        schema_version=results.of(SchemaBefore).version,
        skew_ms=_skew_ms(snapshots[host_id] for host_id in uploads),
        coverage={
            **{c.keyspace: asdict(c) | {"status": c.status} for c in covered},
            **_excluded(ring, backup, results),
        },
        nodes=shares,
        missing_nodes=tuple(node.host_id for node in missing),
        missing_ring=missing,
        figures=_fingerprints(repository, backup.id, results),
        partitioner=census.partitioner,
        data_centers=backup.data_centers,
        other_nodes=_places(m for m in ring if m.host_id not in taking_part),
    )
    return CommitPlan(backup_manifest_bytes(manifest).decode())


def _places(members: Iterable[RingMember]) -> tuple[MissingNode, ...]:
    """Return the places in the ring of nodes without a node backup."""
    ordered = sorted(members, key=lambda m: m.host_id)
    return tuple(MissingNode(m.host_id, m.dc, m.rack, m.tokens) for m in ordered)


def _excluded(
    ring: Sequence[RingMember], backup: Backup, results: Results
) -> dict[str, dict[str, object]]:
    """Return what the data centres have of the keyspaces that are left out."""
    names = results.of(CensusTaken).excluded
    selection = results.of(ResolveDone).selection.selection()
    keyspaces = [k for k in selection.keyspaces if k.name in names]
    found = coverage(ring, keyspaces, {m.host_id for m in ring}, backup.data_centers)
    return {c.keyspace: asdict(c) | {"status": EXCLUDED} for c in found}


def commit_backup(
    database: Database,
    repository: ClusterRepository,
    backup: Backup,
    results: Results,
    raise_if_cancelled: Callable[[], None],
) -> CommitDone:
    """Write the planned backup manifest and mark the backup in one transaction; may be repeated.

    ``raise_if_cancelled`` is called right before the manifest is written; it raises if this
    process does not own the job any more.
    """
    text = results.of(CommitPlan).manifest.encode()
    manifest = parse_backup_manifest(text, "the planned backup manifest")
    raise_if_cancelled()
    stored = repository.commit_text(backup.id, text)
    progress = [upload.progress for upload in results.of(UploadDone).results.values()]
    database.backups.set_status(
        backup.id,
        BackupStatus(manifest.status),
        notes=(
            *notes_of(manifest),
            *_odd_sstables(results),
            *lost_packs_notes(results.of(UploadDone).results),
            *fingerprint_notes(results),
            *_snapshots_left(results),
        ),
        coverage=dict(manifest.coverage),
        skew_ms=manifest.skew_ms,
        files=sum(n.files for n in manifest.nodes),
        bytes=sum(n.bytes for n in manifest.nodes),
        bytes_uploaded=sum(p.bytes_uploaded for p in progress),
        bytes_reused=sum(p.bytes_reused for p in progress),
        manifest_sha256=stored.sha256,
        figures=bool(manifest.figures),
    )
    return CommitDone(stored, manifest.status)


def _snapshots_left(results: Results) -> tuple[str, ...]:
    """Return what to do about snapshots that no worker can remove."""
    released = results.find(ReleaseDone)
    return released.lasting if released else ()


def _odd_sstables(results: Results) -> list[str]:
    """Return a note for each version of SSTables that a restore would object to."""
    by_version: dict[str, set[str]] = {}
    for upload in results.of(UploadDone).results.values():
        for version, tables in upload.unrestorable.items():
            by_version.setdefault(version, set()).update(tables)
    return [
        f"SSTables of version {version}, which this release may not be able to restore, in "
        f"{_some(sorted(tables))}; run nodetool upgradesstables on them"
        for version, tables in sorted(by_version.items())
    ]


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more


def _skew_ms(snapshots: Iterable[SnapshotTaken]) -> int:
    times = [
        (datetime.fromisoformat(s.started_at), datetime.fromisoformat(s.finished_at))
        for s in snapshots
    ]
    first, last = min(begin for begin, _ in times), max(end for _, end in times)
    return int((last - first).total_seconds() * 1000)


def _require_same(what: str, found: StoredObject, expected: StoredObject) -> None:
    if found != expected:
        raise CorruptObject(
            f"{what} {expected.name} has SHA-256 {found.sha256} and {found.size} bytes, "
            f"its worker stored {expected.sha256} and {expected.size}; something else writes there"
        )


def _schema(repository: ClusterRepository, backup_id: str, results: Results) -> StoredObject:
    expected = results.of(SchemaBefore).schema
    if expected is None:
        raise Unexpected(f"the schema of backup {backup_id} was not stored; repeat the backup")
    _require_same("the schema", repository.digest_schema(backup_id), expected)
    return expected


def _fingerprints(
    repository: ClusterRepository, backup_id: str, results: Results
) -> tuple[StoredObject, ...]:
    after = results.find(FingerprintsAfterDone)
    stored = after.figures if after else ()
    for expected in stored:
        found = repository.digest_fingerprints(backup_id, expected)
        _require_same("the fingerprints", found, expected)
    return stored


def _share(
    repository: ClusterRepository, backup_id: str, upload: Uploaded, snapshot: SnapshotTaken
) -> NodeShare:
    member = upload.member.ring_member()
    found = repository.digest_node_manifest(backup_id, member.host_id)
    _require_same("the node manifest", found, upload.manifest)
    return NodeShare(
        host_id=member.host_id,
        address=member.address,
        dc=member.dc,
        rack=member.rack,
        version=member.version,
        tokens=member.tokens,
        manifest=upload.manifest,
        files=upload.files,
        bytes=upload.bytes,
        corrupt_files=upload.corrupt,
        snapshot_started_at=snapshot.started_at,
        snapshot_finished_at=snapshot.finished_at,
    )
