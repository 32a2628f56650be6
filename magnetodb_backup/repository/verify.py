# SPDX-License-Identifier: Apache-2.0
"""Verifies that the bytes of a backup are in the store."""

from __future__ import annotations

from collections.abc import Callable

from magnetodb_backup.domain.backup.manifest import BackupManifest, NodeShare
from magnetodb_backup.errors import CorruptObject, FormatProblem, NotFound
from magnetodb_backup.repository.cluster import ClusterRepository
from magnetodb_backup.repository.findings import Findings, Problem, VerificationReport
from magnetodb_backup.repository.node import NodeRepository
from magnetodb_backup.repository.node_check import (
    CheckedNode,
    CheckHooks,
    CheckPlan,
    check_node,
)


def verify_backup(
    cluster: ClusterRepository,
    node_repository_of: Callable[[str], NodeRepository],
    backup_id: str,
    *,
    manifest_sha256: str,
    read_data: bool,
    progress: Callable[[int, int], None],
    raise_if_cancelled: Callable[[], None],
) -> VerificationReport:
    """Check that every pack of a backup is stored; with ``read_data`` read back every byte.

    ``manifest_sha256`` is the digest of the backup manifest in the backup's record, empty if it has
    none. ``progress`` is called after each node with the number of checked files and bytes.

    :raises NotFound: if the backup has no manifest.
    """
    findings, shares = check_manifests(cluster, backup_id, manifest_sha256)
    plan, files, size = CheckPlan(read_data), 0, 0
    for share in shares:
        hooks = CheckHooks(raise_if_cancelled)
        packs = node_repository_of(share.host_id)
        checked = check_node(cluster, packs, backup_id, CheckedNode.of(share), plan, hooks)
        findings.add_node(checked)
        files, size = files + checked.files, size + checked.bytes
        progress(files, size)
    return findings.report(backup_id, read_data=read_data)


def check_manifests(
    cluster: ClusterRepository, backup_id: str, manifest_sha256: str
) -> tuple[Findings, tuple[NodeShare, ...]]:
    """Check the objects of a backup that belong to no node; return what was found, and its shares.

    ``manifest_sha256`` is as for ``verify_backup()``. There are no shares if the backup manifest
    cannot be read.

    :raises NotFound: if the backup has no manifest.
    """
    findings = Findings()
    try:
        manifest, stored = cluster.read_commit(backup_id)
    except FormatProblem as error:
        findings.add([Problem("", "manifest", "", str(error))])
        return findings, ()
    if manifest_sha256 not in ("", stored.sha256):
        detail = (
            f"{stored.name} has SHA-256 {stored.sha256}, the record of the backup has "
            f"{manifest_sha256}: another program has written it since"
        )
        findings.add([Problem("", "manifest", "", detail)])
    findings.add(_schema_problems(cluster, manifest) + _fingerprint_problems(cluster, manifest))
    return findings, manifest.nodes


def _schema_problems(cluster: ClusterRepository, manifest: BackupManifest) -> list[Problem]:
    try:
        found = cluster.digest_schema(manifest.backup_id)
    except NotFound as error:
        return [Problem("", "schema", "", str(error))]
    if found == manifest.schema:
        return []
    return [Problem("", "schema", "", f"{found.name} does not match the backup manifest")]


def _fingerprint_problems(cluster: ClusterRepository, manifest: BackupManifest) -> list[Problem]:
    problems = []
    for stored in manifest.figures:
        try:
            for _ in cluster.fingerprints(manifest.backup_id, stored):
                pass
        except (CorruptObject, FormatProblem, NotFound) as error:
            problems.append(Problem("", "figures", "", str(error)))
    return problems
