# SPDX-License-Identifier: Apache-2.0
"""The backup that is restored, as far as its backup manifest and the request define it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from magnetodb_backup.domain.backup.manifest import BackupManifest
from magnetodb_backup.domain.restore.parts import Part, TableRef
from magnetodb_backup.domain.restore.records import Restore, RestoreRequest
from magnetodb_backup.domain.restore.routing import Method, Routing, select_tables
from magnetodb_backup.domain.schema.parts import Schema
from magnetodb_backup.domain.schema.skips import Skips
from magnetodb_backup.domain.schema.steps import SchemaSteps, names_of, schema_steps
from magnetodb_backup.domain.tables import Selection, TableName
from magnetodb_backup.errors import RestoreRefused
from magnetodb_backup.repository.cluster import ClusterRepository
from magnetodb_backup.tasks.restore_schema import Compared
from magnetodb_backup.tasks.restore_steps import Selected


class SourceBackup:
    """Turns a backup manifest and a request into tables, parts and statements.

    ``manifest_sha256`` is the manifest's digest in the catalogue, empty if it has none.

    :raises RestoreRefused: if the manifest or the schema was changed after the backup.
    """

    def __init__(
        self, repository: ClusterRepository, restore: Restore, manifest_sha256: str
    ) -> None:
        self._restore, self._request = restore, restore.request
        self.repository = repository
        self.manifest, stored = repository.read_commit(restore.backup_id)
        if manifest_sha256 not in ("", stored.sha256):
            raise RestoreRefused(
                f"the backup manifest {stored.name} has SHA-256 {stored.sha256}, the catalogue "
                f"knows {manifest_sha256}: it was changed after the backup"
            )
        found = repository.digest_schema(restore.backup_id)
        if found != self.manifest.schema:
            raise RestoreRefused(
                f"the schema {found.name} has SHA-256 {found.sha256}, the backup manifest names "
                f"{self.manifest.schema.sha256}: it was changed after the backup"
            )

    def select(self) -> Selected:
        """Return the source and target of each table, and keyspaces that are restored whole.

        :raises NotFound: for tables and keyspaces that the backup lacks.
        :raises RestoreRefused: for a PARTIAL backup that was not allowed.
        """
        if self.manifest.status == "PARTIAL" and not self._request.allow_partial:
            raise RestoreRefused(
                f"backup {self._restore.backup_id} is PARTIAL: without the nodes "
                f"{', '.join(self.manifest.missing_nodes) or 'none'}, and some files may be "
                "corrupt; allow it with --allow-partial"
            )
        selection = self.selection()
        whole = [k.name for k in selection.keyspaces if self._is_whole(k.name)]
        return Selected(
            tables=tuple(TableRef(t.name, self._target(t.name)) for t in selection.tables),
            keyspaces=tuple((k.name, self._keyspace(k.name)) for k in selection.keyspaces),
            whole_keyspaces=tuple(whole),
            views=self._views(selection, whole) if self._request.node else (),
        )

    def _is_whole(self, keyspace: str) -> bool:
        return not self._request.tables or keyspace in self._request.keyspaces

    def _views(self, selection: Selection, whole: Sequence[str]) -> tuple[TableRef, ...]:
        """Return the views of whole keyspaces and tables: a single node gets their files too."""
        tables = Selection.from_json(self.manifest.selection).tables
        skips = Skips.parse(self._request.skip)
        views = [t.name for t in tables if t.is_view and not skips.has_view(t.name)]
        if not views:
            return ()
        bases = Schema.read(self.repository.schema_rows(self._restore.backup_id).rows).views
        chosen = {t.name for t in selection.tables}
        return tuple(
            TableRef(view, view)
            for view in views
            if view.keyspace in whole
            or (view in bases and TableName(view.keyspace, bases[view].table) in chosen)
        )

    def selection(self) -> Selection:
        """Return the part of the backup that is to be restored.

        :raises RestoreRefused: if that is nothing.
        """
        selection = select_tables(
            Selection.from_json(self.manifest.selection),
            self._request.keyspaces,
            [TableName.parse(t) for t in self._request.tables],
            system_auth=self._request.system_auth,
        )
        if not selection.tables and not selection.keyspaces:
            raise RestoreRefused(f"backup {self._restore.backup_id} has nothing to restore")
        return selection

    def replication(self) -> dict[str, Mapping[str, str]]:
        """Return the replication of each keyspace when the backup was made."""
        keyspaces = Selection.from_json(self.manifest.selection).keyspaces
        return {k.name: k.replication for k in keyspaces}

    def _keyspace(self, source: str) -> str:
        return self._request.to_keyspace or source

    def _target(self, source: TableName) -> TableName:
        table = self._request.to_table or source.table
        return TableName(self._keyspace(source.keyspace), table)

    def schema(self, routing: Routing, compared: Compared, selected: Selected) -> SchemaSteps:
        """Return the statements to execute, in full: later steps execute exactly these.

        What the request skips is still among them; see ``leave_out()``.
        """
        streamed = {
            ref.target
            for ref in selected.tables
            if routing.methods[ref.source.keyspace] is Method.STREAM
        }
        if self._request.node:  # indexes and views stay, with the rows of the other nodes
            return schema_steps(compared.create, [], [], [], streamed)
        return schema_steps(
            compared.create,
            compared.views,
            compared.present_indexes,
            compared.present_views,
            streamed,
        )

    def parts(self, routing: Routing, selected: Selected) -> dict[str, tuple[Part, ...]]:
        """Return by target host ID what it takes from which node backup, and how."""
        manifests = {share.host_id: share.manifest for share in self.manifest.nodes}
        parts: dict[str, tuple[Part, ...]] = {}
        for assignment in routing.assignments:
            tables = tuple(
                ref for ref in selected.all_tables() if ref.source.keyspace in assignment.keyspaces
            )
            if tables:
                part = Part(
                    source=assignment.source,
                    manifest=manifests[assignment.source],
                    tables=tables,
                    method=assignment.method,
                    cluster=self._restore.source_cluster,
                    backup_id=self._restore.backup_id,
                )
                parts[assignment.target] = (*parts.get(assignment.target, ()), part)
        return parts


def unsaved_views(
    request: RestoreRequest, selected: Selected, compared: Compared
) -> tuple[TableName, ...]:
    """Return the views of a single node's tables that get no files."""
    if not request.node:
        return ()
    present = [TableName(*name) for name in names_of(compared.present_views, "view")]
    delivered = {ref.target for ref in selected.views}
    return tuple(view for view in present if view not in delivered)


def newest_version(manifest: BackupManifest) -> str:
    """Return the newest version of Cassandra among the backup's nodes."""
    return max((n.version for n in manifest.nodes), key=release)


def release(version: str) -> tuple[int, int]:
    """Return the major and minor number of a version of Cassandra."""
    major, minor, *_ = (*version.partition("-")[0].split("."), "0", "0")
    return int(major), int(minor)
