# SPDX-License-Identifier: Apache-2.0
"""The commit: prove that every node manifest is stored, then write the backup manifest."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict
from datetime import datetime, timezone
from typing import Any

from magnetodb_backup.conductor.backup.fingerprints import fingerprint_notes
from magnetodb_backup.conductor.job import Results
from magnetodb_backup.database import Database
from magnetodb_backup.domain.backup.manifest import BackupManifest, NodeShare, StoredObject
from magnetodb_backup.domain.backup.records import Backup
from magnetodb_backup.domain.backup.status import BackupStatus, Phase
from magnetodb_backup.domain.coverage import KeyspaceCoverage, coverage
from magnetodb_backup.domain.ring import RingMember
from magnetodb_backup.domain.tables import Selection
from magnetodb_backup.errors import CorruptObject, MissingWorker
from magnetodb_backup.repository.cluster import ClusterRepository


def coverage_of(
    ring: Sequence[RingMember], selection: Selection, present: Collection[str], *, require: bool
) -> tuple[KeyspaceCoverage, ...]:
    """Compute what the ``present`` host IDs cover of each selected keyspace.

    :raises MissingWorker: with ``require``, if a token range has no replica among them.
    """
    result = coverage(ring, selection.keyspaces, present)
    lost = [c for c in result if c.status == "lost"]
    if lost and require:
        absent = ", ".join(m.address for m in ring if m.host_id not in present)
        raise MissingWorker(
            f"without {absent} no replica is left of some token ranges of the keyspaces "
            f"{', '.join(c.keyspace for c in lost)}; bring one of these nodes back"
        )
    return result


def _skew_ms(snapshots: Mapping[str, Mapping[str, Any]]) -> int:
    begins = [datetime.fromisoformat(s["started_at"]) for s in snapshots.values()]
    ends = [datetime.fromisoformat(s["finished_at"]) for s in snapshots.values()]
    return int((max(ends) - min(begins)).total_seconds() * 1000)


def commit_backup(
    database: Database, repository: ClusterRepository, backup: Backup, results: Results
) -> Mapping[str, Any]:
    """Write the backup manifest and mark the backup; may be repeated.

    :raises CorruptObject: if a node manifest or the schema is not what its worker stored.
    :raises MissingWorker: if what is there covers too little.
    """
    ring = [RingMember.from_json(m) for m in results["census"]["ring"]]
    selection = Selection.from_json(results["resolve"]["selection"])
    uploads, snapshots = results["upload"]["results"], results["snapshot"]["results"]
    shares = tuple(
        _share(repository, backup.id, host_id, upload, snapshots[host_id])
        for host_id, upload in sorted(uploads.items())
    )
    schema = _schema(repository, backup.id, results["schema_before"]["schema"])
    figures = _figures(repository, backup.id, results)
    covered = coverage_of(ring, selection, uploads, require=True)
    corrupt = sum(s.corrupt_files for s in shares)
    whole = len(shares) == len(ring) and not corrupt
    status = BackupStatus.CREATED if whole else BackupStatus.PARTIAL
    skew = _skew_ms({h: snapshots[h] for h in uploads})
    missing = tuple(sorted({m.host_id for m in ring} - set(uploads)))
    manifest = BackupManifest(
        backup_id=backup.id,
        name=backup.name,
        cluster=backup.cluster,
        status=status.value,
        created_at=backup.created_at.isoformat(),
        committed_at=datetime.now(timezone.utc).isoformat(),
        scope=dict(backup.scope),
        selection=selection.as_json(),
        schema=schema,
        schema_version=results["schema_before"]["version"],
        skew_ms=skew,
        coverage={c.keyspace: asdict(c) | {"status": c.status} for c in covered},
        nodes=shares,
        missing_nodes=missing,
        figures=figures,
    )
    stored = repository.commit(manifest)
    totals = [u["progress"] for u in uploads.values()]
    database.backups.update(
        backup.id,
        coverage=dict(manifest.coverage),
        skew_ms=skew,
        files=sum(s.files for s in shares),
        bytes=sum(s.bytes for s in shares),
        bytes_uploaded=sum(p["bytes_uploaded"] for p in totals),
        bytes_reused=sum(p["bytes_reused"] for p in totals),
        manifest_sha256=stored.sha256,
        figures=bool(figures),
    )
    notes = []
    if missing:
        notes.append(f"without the nodes {', '.join(missing)}")
    if corrupt:
        notes.append(f"{corrupt} corrupt files, see the node backups")
    notes += fingerprint_notes(results)
    database.backups.set_status(backup.id, status, error="; ".join(notes))
    return {"manifest": asdict(stored), "status": status.value}


def _require_same(what: str, found: StoredObject, expected: StoredObject) -> None:
    if found != expected:
        raise CorruptObject(
            f"{what} {expected.name} has SHA-256 {found.sha256} and {found.size} bytes, "
            f"its worker stored {expected.sha256} and {expected.size}; something else writes there"
        )


def _schema(
    repository: ClusterRepository, backup_id: str, stored: Mapping[str, Any]
) -> StoredObject:
    expected = StoredObject(**stored)
    _require_same("the schema", repository.digest_schema(backup_id), expected)
    return expected


def _figures(
    repository: ClusterRepository, backup_id: str, results: Results
) -> tuple[StoredObject, ...]:
    stored = results.get(Phase.FIGURES_AFTER.value, {}).get("figures", ())
    figures = tuple(StoredObject(**f) for f in stored)
    for expected in figures:
        found = repository.digest_fingerprints(backup_id, expected)
        _require_same("the figures", found, expected)
    return figures


def _share(
    repository: ClusterRepository,
    backup_id: str,
    host_id: str,
    upload: Mapping[str, Any],
    snapshot: Mapping[str, Any],
) -> NodeShare:
    expected = StoredObject(**upload["manifest"])
    found = repository.digest_node_manifest(backup_id, host_id)
    _require_same("the node manifest", found, expected)
    member = RingMember.from_json(upload["member"])
    return NodeShare(
        host_id=host_id,
        address=member.address,
        dc=member.dc,
        rack=member.rack,
        version=member.version,
        tokens=member.tokens,
        manifest=expected,
        files=upload["files"],
        bytes=upload["bytes"],
        corrupt_files=len(upload["corrupt_files"]),
        snapshot_started_at=snapshot["started_at"],
        snapshot_finished_at=snapshot["finished_at"],
    )
