# SPDX-License-Identifier: Apache-2.0
"""The form of records in the REST API and in ``-f json``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

from magnetodb_backup.domain.backup.findings import Finding
from magnetodb_backup.domain.backup.proofs import Proof, ProofGroup, grouped
from magnetodb_backup.domain.backup.records import Backup, Node, NodeBackup
from magnetodb_backup.domain.jobs import Job

if TYPE_CHECKING:
    from _typeshed import DataclassInstance


def time_view(value: datetime | None) -> str | None:
    """Return a time in the form of all records: UTC, with milliseconds."""
    if value is None:
        return None
    return value.astimezone(timezone.utc).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def backup_view(
    backup: Backup,
    nodes: Sequence[NodeBackup] | None = None,
    proofs: Sequence[Proof] | None = None,
    findings: Sequence[Finding] | None = None,
) -> dict[str, Any]:
    """Return a backup's fields; with ``nodes``, ``proofs`` and ``findings`` these too."""
    view: dict[str, Any] = {
        "id": backup.id,
        "name": backup.name,
        "cluster": backup.cluster,
        "status": backup.status.value,
        "phase": backup.phase,
        "error": backup.error,
        "waiting_for": backup.waiting_for,
        "notes": list(backup.notes),
        "type": backup.type,
        "scope": dict(backup.scope),
        "data_centers": list(backup.data_centers),
        "allow_partial": backup.allow_partial,
        "on_corrupt": backup.on_corrupt,
        "figures": backup.figures,
        "created_at": time_view(backup.created_at),
        "updated_at": time_view(backup.updated_at),
        "finished_at": time_view(backup.finished_at),
        "deleted_at": time_view(backup.deleted_at),
        "undelete_until": time_view(backup.undelete_until),
        "purged_at": time_view(backup.purged_at),
        "files": backup.files,
        "bytes": backup.bytes,
        "bytes_uploaded": backup.bytes_uploaded,
        "bytes_reused": backup.bytes_reused,
        "skew_ms": backup.skew_ms,
        "coverage": backup.coverage,
        "kept_reason": backup.kept_reason,
        "kept_at": time_view(backup.kept_at),
    }
    if nodes is not None:
        view["nodes"] = [node_backup_view(n) for n in nodes]
    if proofs is not None:
        view["proofs"] = [_proof_view(group) for group in grouped(proofs)]
    if findings is not None:
        view["findings"] = [finding_view(finding) for finding in findings]
    return view


def _proof_view(group: ProofGroup) -> dict[str, Any]:
    """Return the fields of tables with the same result of a rung."""
    return {
        "rung": group.rung.value,
        "outcome": group.outcome.value,
        "proved_at": time_view(group.proved_at),
        "job_id": group.job_id,
        "detail": group.detail,
        "tables": list(group.tables),
    }


def node_backup_view(node: NodeBackup) -> dict[str, Any]:
    """Return a node backup's fields."""
    return {**with_progress(node), "corrupt_files": list(node.corrupt_files)}


def with_progress(record: DataclassInstance) -> dict[str, Any]:
    """Return the fields of a record, and beside them those of its ``progress``."""
    view = asdict(record)
    progress = view.pop("progress")
    return {**view, **progress}


def node_view(node: Node) -> dict[str, Any]:
    """Return the fields of a worker's last report."""
    report, member = node.report, node.report.member
    return {
        "host_id": member.host_id if member else None,
        "address": member.address if member else None,
        "dc": member.dc if member else None,
        "rack": member.rack if member else None,
        "version": member.version if member else None,
        "tokens": [str(t) for t in member.tokens] if member else [],
        "cluster": report.cluster,
        "worker_id": report.worker_id,
        "hostname": report.hostname,
        "node_control": report.node_control,
        "live": node.live,
        "problem": report.problem,
        "data_directories": [asdict(d) for d in report.directories],
        "first_seen": time_view(node.first_seen),
        "last_seen": time_view(node.last_seen),
    }


def finding_view(finding: Finding) -> dict[str, Any]:
    """Return the fields of a finding."""
    return {
        "cluster": finding.cluster,
        "host_id": finding.host_id,
        "object": finding.object.value,
        "name": finding.name,
        "problem": finding.problem,
        "detail": finding.detail,
        "first_seen": time_view(finding.first_seen),
        "last_seen": time_view(finding.last_seen),
        "job_id": finding.job_id,
        "found_in": list(finding.found_in),
        "affected": list(finding.affected),
        "healed_at": time_view(finding.healed_at),
        "healed_by": finding.healed_by,
    }


def job_view(job: Job) -> dict[str, Any]:
    """Return a job's fields."""
    return {
        "id": job.id,
        "kind": job.kind,
        "backup_id": job.backup_id,
        "status": job.status.value,
        "error": job.error,
        "parameters": dict(job.parameters),
        "result": job.result,
        "progress": job.progress,
        "created_at": time_view(job.created_at),
        "updated_at": time_view(job.updated_at),
    }


def collection_view(job: Job) -> dict[str, Any]:
    """Return the fields of a collection, or of a survey: its job."""
    return {
        "id": job.id,
        "cluster": job.cluster,
        "status": job.status.value,
        "error": job.error,
        "dry_run": bool(job.parameters.get("dry_run", False)),
        "grace": job.parameters.get("grace"),
        "repack": job.parameters.get("repack"),
        "repack_minimum": job.parameters.get("repack_minimum"),
        "result": job.result,
        "progress": job.progress,
        "created_at": time_view(job.created_at),
        "updated_at": time_view(job.updated_at),
    }
