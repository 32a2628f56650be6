# SPDX-License-Identifier: Apache-2.0
"""The rules of a request for a restore, checked before the target cluster is contacted."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from magnetodb_backup.domain.as_of import check_as_of
from magnetodb_backup.domain.backup.records import Backup
from magnetodb_backup.domain.backup.status import BackupStatus, check_restorable
from magnetodb_backup.domain.restore.records import (
    Existing,
    Restore,
    RestoreRequest,
    RestoreStatus,
)
from magnetodb_backup.domain.restore.routing import select_tables
from magnetodb_backup.domain.schema.skips import Skips
from magnetodb_backup.domain.tables import (
    KeyspaceDescription,
    Selection,
    TableDescription,
    TableName,
    parse_name,
)
from magnetodb_backup.errors import Conflict, InvalidValue

_SOURCE_REPLICAS = ("all", "one")


def checked_request(request: RestoreRequest, backup: Backup, now: datetime) -> RestoreRequest:
    """Return the request with its names as Cassandra has them, without quotes.

    :raises Conflict: if the backup's status does not allow a restore.
    :raises InvalidValue: if the request contradicts itself or could do harm.
    :raises NotFound: for keyspaces and tables that the backup lacks.
    """
    check_restorable(backup.id, backup.status)
    if backup.status is BackupStatus.PARTIAL and not request.allow_partial:
        raise InvalidValue(
            f"backup {backup.id} is PARTIAL: only a replica of each token range is in it, or some "
            "files were corrupt; if that is enough say --allow-partial (REST: allow_partial)"
        )
    if request.source_replicas not in _SOURCE_REPLICAS:
        raise InvalidValue(f"source_replicas is {request.source_replicas!r}; use all or one")
    _check_offline(request)
    if request.node and request.existing is Existing.REPLACE and not request.offline:
        raise InvalidValue(
            "a single node cannot be restored by replace: a table is truncated on all nodes at "
            "once, so the rows of the others would be lost; use merge"
        )
    _check_fingerprints(request, backup)
    Skips.parse(request.skip)  # refuses what does not name an object
    if (moment := request.moment) is not None:
        check_as_of(moment, now)
    request = replace(
        request,
        as_of=moment.isoformat() if moment else "",
        keyspaces=tuple(parse_name(k) for k in request.keyspaces),
        to_keyspace=parse_name(request.to_keyspace) if request.to_keyspace else "",
        to_table=parse_name(request.to_table, "table") if request.to_table else "",
    )
    tables = [TableName.parse(t) for t in request.tables]
    for keyspace in (*request.keyspaces, *(t.keyspace for t in tables)):
        _refuse_system(keyspace, "Restoring it would put another cluster's state into this one")
    if request.to_keyspace:
        _refuse_system(request.to_keyspace, "Name a keyspace of your own as the target")
    if request.to_table and (len(tables) != 1 or request.keyspaces):
        raise InvalidValue(
            f"the new table name {request.to_table!r} needs exactly one table: name it by --table, "
            "and no keyspace"
        )
    if backup.selection is not None:
        _check_selection(request, tables, Selection.from_json(backup.selection))
    return request


def check_cancellable(restore: Restore) -> None:
    """Raise Conflict unless the restore runs."""
    if restore.status is not RestoreStatus.RESTORING:
        raise Conflict(
            f"restore {restore.id} is {restore.status.value}; only a restore that is RESTORING "
            "can be cancelled"
        )


def _check_offline(request: RestoreRequest) -> None:
    if not request.offline:
        if request.system_auth:
            raise InvalidValue(
                "system_auth is restored offline only, since Cassandra keeps it in memory while it "
                "runs; say --offline too (REST: offline)"
            )
        return
    if request.to_keyspace or request.to_table:
        raise InvalidValue(
            "an offline restore exchanges files in place, so it cannot give another name; leave "
            "--offline out"
        )
    if request.existing is Existing.MERGE:
        raise InvalidValue(
            "an offline restore replaces the files of a table, it cannot merge; use --existing "
            "replace, or leave --offline out"
        )


def _check_fingerprints(request: RestoreRequest, backup: Backup) -> None:
    if request.check and not backup.figures:
        raise InvalidValue(
            f"backup {backup.id} has no fingerprints to check a restore against; leave --check out "
            "(REST: check), and make the next backup with --fingerprints"
        )
    if request.check and request.node:
        raise InvalidValue(
            "the restore of a single node cannot be checked: the other nodes keep what they have, "
            "and fingerprints are of all replicas; leave --check or --node out"
        )


def _refuse_system(keyspace: str, remedy: str) -> None:
    if KeyspaceDescription(keyspace).is_system:
        raise InvalidValue(f"keyspace {keyspace} is Cassandra's own. {remedy}")


def _check_selection(
    request: RestoreRequest, tables: list[TableName], selection: Selection
) -> None:
    chosen = select_tables(selection, request.keyspaces, tables, system_auth=request.system_auth)
    if not chosen.keyspaces:
        raise InvalidValue(
            "the backup has nothing but Cassandra's own keyspaces, which are not restored"
        )
    if not request.to_keyspace and not request.to_table:
        return
    if request.to_keyspace and len(chosen.keyspaces) > 1:
        names = ", ".join(sorted(k.name for k in chosen.keyspaces))
        raise InvalidValue(
            f"the keyspaces {names} cannot all become {request.to_keyspace}; restore one at a time"
        )
    same = [str(t.name) for t in chosen.tables if _target(request, t) == t.name]
    if not request.to_table:  # a keyspace may have no table
        same += [k.name for k in chosen.keyspaces if k.name == request.to_keyspace]
    if same:
        raise InvalidValue(
            f"the new name of {', '.join(same)} is the old one; leave it out to restore in place"
        )


def _target(request: RestoreRequest, table: TableDescription) -> TableName:
    name = table.name
    return TableName(request.to_keyspace or name.keyspace, request.to_table or name.table)
