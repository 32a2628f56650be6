# SPDX-License-Identifier: Apache-2.0
"""The rules of requests for backups: creating, cancelling, deleting and verifying one."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from magnetodb_backup.domain.backup.data_centers import as_text
from magnetodb_backup.domain.backup.records import Backup, BackupRequest, Node
from magnetodb_backup.domain.backup.status import BackupStatus
from magnetodb_backup.errors import Conflict, InvalidValue, NotFound
from magnetodb_backup.repository.format.names import cluster_container


def check_request(request: BackupRequest) -> None:
    """Check the type and the options; the scope is checked by its driver.

    :raises InvalidValue: naming the value and what to use instead.
    """
    if request.type != "full":
        raise InvalidValue(
            f"backup type {request.type!r} is not available yet; use full, which uploads only "
            "what the store does not have"
        )
    if request.on_corrupt not in ("fail", "mark"):
        raise InvalidValue(f"on_corrupt is {request.on_corrupt!r}; use fail or mark")


def check_cluster(cluster: str, prefix: str) -> None:
    """Check that the store can have containers of the cluster.

    :raises InvalidValue: if their names would be too long.
    """
    cluster_container(prefix, cluster)


def check_data_centers(wanted: Sequence[str], cluster: str, nodes: Iterable[Node]) -> None:
    """Check that workers report nodes of the data centres; the ring decides when the job begins.

    :raises NotFound: naming those that no worker reports, and the known ones.
    """
    known = {node.report.member.dc for node in nodes if node.report.member is not None}
    unknown = [name for name in wanted if name not in known]
    if known and unknown:
        raise NotFound(
            f"no worker reports a node of cluster {cluster!r} in {as_text(unknown)}; known: "
            f"{', '.join(sorted(known))}"
        )


def check_cancellable(backup: Backup) -> None:
    """Raise Conflict unless the backup runs."""
    if backup.status is not BackupStatus.CREATING:
        raise Conflict(
            f"backup {backup.id} is {backup.status.value}; only a backup that is CREATING "
            "can be cancelled, or the verification of a complete one"
        )


def check_deletable(backup: Backup) -> None:
    """Raise Conflict if the backup is deleted; one that runs is cancelled by its deletion."""
    if backup.status is BackupStatus.DELETED:
        raise Conflict(f"backup {backup.id} is already DELETED")


def check_verifiable(backup: Backup, *, deleted_too: bool = False) -> None:
    """Raise Conflict unless the backup is complete; or deleted, where the store still has it."""
    if deleted_too and backup.status in (BackupStatus.DELETED, BackupStatus.DELETE_FAILED):
        return
    if backup.status not in (BackupStatus.CREATED, BackupStatus.PARTIAL):
        raise Conflict(
            f"backup {backup.id} is {backup.status.value}; only CREATED and PARTIAL ones can "
            "be verified"
        )
