# SPDX-License-Identifier: Apache-2.0
"""backup create, list, show, files, verify, cancel, delete."""

from __future__ import annotations

import argparse
import json
from argparse import ArgumentParser, Namespace
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from cliff.lister import Lister
from typing_extensions import override

from magnetodb_backup.cli.app import DONE, FAILED, PARTIAL, ServiceCommand
from magnetodb_backup.cli.show import ListCommand, RecordCommand, cell
from magnetodb_backup.cli.summary import backup_fields, backup_summary, follow_up
from magnetodb_backup.cli.verification import problems_of, proof_lines
from magnetodb_backup.cli.waiting import Waiter, add_waiting
from magnetodb_backup.domain.backup.proofs import Proof, Rung
from magnetodb_backup.domain.backup.records import Backup, BackupRequest, NodeBackup
from magnetodb_backup.domain.backup.status import BackupStatus
from magnetodb_backup.domain.backup.views import backup_view, job_view
from magnetodb_backup.domain.jobs import JobKind, JobStatus, Subject
from magnetodb_backup.domain.tables import TableName
from magnetodb_backup.errors import InvalidValue, NotFound

_RUNGS = {
    Rung.EXISTS: "prove that the store has all bytes; the default",
    Rung.READ_DATA: "read every byte and compare its digest",
    Rung.PARSE: "fetch all SSTables to their nodes, where Cassandra's own verifier opens each one "
    "and reads its rows, without the running Cassandra",
    Rung.SCHEMA: "apply the schema to an empty scratch Cassandra on one node",
}
_FILE_COLUMNS = (
    "host_id", "data_directory", "keyspace", "table", "index", "name", "size", "sha256",
)  # fmt: skip


def add_backup(parser: ArgumentParser) -> None:
    """Add the argument that names a backup."""
    parser.add_argument("backup", help="ID, unique name, or the ID's first 8 or more digits")


def code_of(backup: Backup) -> int:
    """Return the exit code for the status in which a backup ended."""
    return {BackupStatus.CREATED: DONE, BackupStatus.PARTIAL: PARTIAL}.get(backup.status, FAILED)


def _complaints(backup: Backup) -> Iterator[tuple[str, str]]:
    """Yield the error of a failed backup, or the notes of one that is complete or PARTIAL."""
    if code_of(backup) == FAILED:
        yield "error", f"{backup.status.value}: {backup.error}"
        return
    prefix = "PARTIAL: " if backup.status is BackupStatus.PARTIAL else ""
    for note in backup.notes:
        yield "warning", f"{prefix}{note}"


def _cell(name: str, value: Any) -> Any:
    """Return a field as the text of a cell, with a line for each part of it."""
    if name == "nodes":
        return "\n".join(_node_line(node) for node in value)
    if name == "data_centers":
        return ", ".join(value)
    if name == "proofs":
        return "\n".join(_proof_line(group) for group in value)
    if name == "coverage" and value:
        return "\n".join(f"{keyspace}: {found['status']}" for keyspace, found in value.items())
    return cell(name, value)


def _node_line(node: Mapping[str, Any]) -> str:
    end = f": {node['error']}" if node["error"] else ""
    return (
        f"{node['address']}: {node['phase']}, {node['files_done']}/{node['files_total']} files, "
        f"{node['bytes_done']} bytes, {node['bytes_uploaded']} uploaded{end}"
    )


def _proof_line(group: Mapping[str, Any]) -> str:
    detail = f": {group['detail']}" if group["detail"] else ""
    tables = ", ".join(group["tables"])
    return f"{group['rung']}: {group['outcome']} at {group['proved_at']}: {tables}{detail}"


class _BackupCommand(RecordCommand):
    """Shows a backup."""

    def backup_columns(
        self,
        parsed_args: Namespace,
        backup: Backup,
        nodes: Sequence[NodeBackup] | None,
        proofs: Sequence[Proof] | None = None,
    ) -> Any:
        """Return columns for cliff."""
        return self.shown(
            parsed_args,
            backup_view(backup, nodes, proofs),
            brief=lambda: backup_fields(backup, nodes or (), tuple(proof_lines(proofs or ()))),
            text=_cell,
        )


class List(ListCommand):
    """List backups, newest first."""

    noun = "backup"
    columns = (
        "id", "name", "cluster", "data_centers", "status", "created_at", "files", "bytes",
        "bytes_uploaded", "waiting_for",
    )  # fmt: skip
    lists = frozenset({"data_centers"})
    sizes = frozenset({"bytes", "bytes_uploaded"})

    @override
    def get_parser(self, prog_name: str) -> ArgumentParser:
        parser = super().get_parser(prog_name)
        parser.add_argument(
            "--sort",
            default="created_at:desc",
            metavar="KEY",
            help="sort by created_at, updated_at, name or status; append :asc or :desc",
        )
        parser.add_argument("--all", action="store_true", help="list deleted backups too")
        return parser

    @override
    def take_action(self, parsed_args: Namespace) -> Any:
        backups = self.services.database().backups.list(
            **self.chosen(parsed_args),
            sort=parsed_args.sort,
            include_deleted=parsed_args.all,
            brief=True,
        )
        return self.rows(parsed_args, (backup_view(backup) for backup in backups))


class Show(_BackupCommand):
    """Show a backup and its node backups."""

    @override
    def get_parser(self, prog_name: str) -> ArgumentParser:
        parser = super().get_parser(prog_name)
        add_backup(parser)
        return parser

    @override
    def take_action(self, parsed_args: Namespace) -> Any:
        database = self.services.database()
        backup = database.backups.find(parsed_args.backup)
        nodes, proofs = database.backups.node_backups(backup.id), database.proofs.of(backup.id)
        return self.backup_columns(parsed_args, backup, nodes, proofs)


class Create(_BackupCommand):
    """Back up all keyspaces, some keyspaces, or a list of tables (column families)."""

    @override
    def get_parser(self, prog_name: str) -> ArgumentParser:
        parser = super().get_parser(prog_name)
        scope = parser.add_mutually_exclusive_group(required=True)
        scope.add_argument(
            "--all-keyspaces",
            action="store_true",
            help="back up all keyspaces except those local to a node, virtual ones and "
            "system_traces",
        )
        scope.add_argument(
            "--keyspace", action="append", metavar="K", help="back up a keyspace; may be repeated"
        )
        scope.add_argument(
            "--table", action="append", metavar="K.T", help="back up a table; may be repeated"
        )
        scope.add_argument("--scope", metavar="TYPE", help="select the tables by a scope plugin")
        parser.add_argument(
            "--scope-parameter",
            action="append",
            default=[],
            metavar="KEY=JSON",
            help="set a parameter of the plugin that --scope names; may be repeated",
        )
        parser.add_argument("--name", default="", help="human-readable name, unique")
        parser.add_argument(
            "--cluster", help="cluster to back up; required if the service has several"
        )
        parser.add_argument(
            "--dc",
            action="append",
            default=[],
            dest="data_centers",
            metavar="NAME",
            help="back up only the nodes of this data centre, which must have a complete copy of "
            "the keyspaces; may be repeated",
        )
        parser.add_argument(
            "--type",
            default="full",
            choices=("full",),
            help="type of the backup; a full backup uploads only files that the store lacks",
        )
        parser.add_argument(
            "--allow-partial",
            action="store_true",
            help="continue without nodes that are missing or fail, provided that each token range "
            "keeps a replica; the backup is PARTIAL then",
        )
        parser.add_argument(
            "--on-corrupt",
            default="fail",
            choices=("fail", "mark"),
            help="fail if an SSTable does not match its digest, or mark it in the backup",
        )
        parser.add_argument(
            "--fingerprints",
            dest="figures",
            action="store_true",
            help="count and digest all rows, before and after the snapshots, so that restore "
            "create --check can compare the restored rows; reads every row twice",
        )
        parser.add_argument("--figures", action="store_true", help=argparse.SUPPRESS)
        add_waiting(parser, default=False)
        return parser

    @override
    def take_action(self, parsed_args: Namespace) -> Any:
        request = BackupRequest(
            scope=_scope(parsed_args),
            name=parsed_args.name,
            cluster=parsed_args.cluster,
            type=parsed_args.type,
            allow_partial=parsed_args.allow_partial,
            on_corrupt=parsed_args.on_corrupt,
            figures=parsed_args.figures,
            data_centers=tuple(parsed_args.data_centers),
        )
        backup = self.services.requests().create_backup(request)
        backups = self.services.database().backups
        if parsed_args.wait:
            backup = Waiter(self.services, parsed_args.timeout).backup(backup.id)
        nodes = backups.node_backups(backup.id)
        if not parsed_args.wait:
            self._below = follow_up(self.services.command, "backup", backup.id)
        else:
            self._summary = backup_summary(backup, nodes, self.services.command)
            self.ends(code_of(backup), *_complaints(backup))
        return self.backup_columns(parsed_args, backup, nodes)


def _scope(parsed_args: Namespace) -> dict[str, Any]:
    if parsed_args.scope_parameter and not parsed_args.scope:
        raise InvalidValue("--scope-parameter is only for --scope")
    if parsed_args.keyspace:
        return {"type": "keyspaces", "keyspaces": parsed_args.keyspace}
    if parsed_args.table:
        return {"type": "tables", "tables": parsed_args.table}
    if parsed_args.all_keyspaces:
        return {"type": "all"}
    scope: dict[str, Any] = {"type": parsed_args.scope}
    for text in parsed_args.scope_parameter:
        key, equals, value = text.partition("=")
        try:
            scope[key] = json.loads(value)
        except ValueError:
            equals = ""
        if not equals:
            raise InvalidValue(f"--scope-parameter {text!r} is not KEY=JSON")
    return scope


class _OnBackup(_BackupCommand):
    """Starts a job on a backup and, if asked, waits for its end."""

    _wait = False

    @override
    def get_parser(self, prog_name: str) -> ArgumentParser:
        parser = super().get_parser(prog_name)
        add_backup(parser)
        add_waiting(parser, default=self._wait)
        return parser

    def _find(self, parsed_args: Namespace) -> Backup:
        return self.services.database().backups.find(parsed_args.backup)

    def _waiter(self, parsed_args: Namespace) -> Waiter:
        return Waiter(self.services, parsed_args.timeout)

    def _ended(self, backup: Backup, wanted: BackupStatus, error: str) -> None:
        """Fail unless the backup has the wanted status."""
        if backup.status is not wanted:
            reason = f": {error}" if error else ""
            found = f"the backup is {backup.status.value}, not {wanted.value}{reason}"
            self.ends(FAILED, ("error", found))


class Cancel(_OnBackup):
    """Cancel a running backup, or the verification of a complete one."""

    @override
    def take_action(self, parsed_args: Namespace) -> Any:
        found = self._find(parsed_args)
        backup = self.services.requests().cancel_backup(found.id)
        if parsed_args.wait and found.status is not BackupStatus.CREATING:
            jobs = self.services.database().jobs
            job = jobs.latest(Subject.backup(backup.id), JobKind.VERIFICATION)
            assert job is not None
            job = self._waiter(parsed_args).job(job.id)
            if job.status is not JobStatus.CANCELLED:
                found_status = f"the verification is {job.status.value}, not CANCELLED"
                self.ends(FAILED, ("error", found_status))
        elif parsed_args.wait:
            backup = self._waiter(parsed_args).backup(backup.id)
            self._ended(backup, BackupStatus.CANCELLED, backup.error)
        return self.backup_columns(parsed_args, backup, None)


class Delete(_OnBackup):
    """Delete a backup's manifests. Its packs stay, because other backups may need them."""

    @override
    def take_action(self, parsed_args: Namespace) -> Any:
        backup = self.services.requests().delete_backup(self._find(parsed_args).id)
        database = self.services.database()
        deletion = database.jobs.latest(Subject.backup(backup.id), JobKind.DELETION)
        if parsed_args.wait and deletion is not None:
            # A running backup is cancelled first, so its status is not that of the deletion.
            deletion = self._waiter(parsed_args).job(deletion.id)
            backup = database.backups.get(backup.id)
            self._ended(backup, BackupStatus.DELETED, deletion.error)
        return self.backup_columns(parsed_args, backup, None)


class Verify(_OnBackup):
    """Prove that a backup can be restored: that its bytes exist, parse, and fit its schema.

    Options can be combined. backup show shows how far each table is proved, and when.
    """

    _wait = True

    @override
    def get_parser(self, prog_name: str) -> ArgumentParser:
        parser = super().get_parser(prog_name)
        for rung, text in _RUNGS.items():
            parser.add_argument(
                f"--{rung.value}", dest="rungs", action="append_const", const=rung.value, help=text
            )
        return parser

    @override
    def take_action(self, parsed_args: Namespace) -> Any:
        backup = self._find(parsed_args)
        job = self.services.requests().verify_backup(backup.id, rungs=parsed_args.rungs or ())
        if parsed_args.wait:
            job = self._waiter(parsed_args).verification(job.id)
            if problems := list(problems_of(job)):
                self.ends(FAILED, *(("error", problem) for problem in problems))
        view = job_view(job)
        view |= view.pop("result") or {}
        return self.shown(parsed_args, view, brief=lambda: _as_cells(view))


def _as_cells(view: Mapping[str, Any]) -> dict[str, Any]:
    return {name: cell(name, value) for name, value in view.items()}


class Files(ServiceCommand, Lister):
    """List a backup's files, read from the store."""

    @override
    def get_parser(self, prog_name: str) -> ArgumentParser:
        parser: ArgumentParser = super().get_parser(prog_name)
        add_backup(parser)
        parser.add_argument("--node", metavar="HOST_ID", help="list only files of this node")
        parser.add_argument("--table", metavar="K.T", help="list only files of this table")
        return parser

    @override
    def take_action(self, parsed_args: Namespace) -> Any:
        backup = self.services.database().backups.find(parsed_args.backup)
        source = self.services.repository(backup.cluster)
        table = TableName.parse(parsed_args.table) if parsed_args.table else None
        manifest = source.read_backup(backup.id)
        hosts = [n.host_id for n in manifest.nodes if parsed_args.node in (None, n.host_id)]
        if not hosts:
            raise NotFound(f"backup {backup.id} has no node {parsed_args.node}; see backup show")

        def rows() -> Iterator[tuple[Any, ...]]:
            for host_id in hosts:
                for entry in source.node_manifest(backup.id, host_id):
                    if table not in (None, TableName(entry.keyspace, entry.table)):
                        continue
                    yield (
                        host_id, entry.data_directory, entry.keyspace, entry.table,
                        entry.index or "", entry.name, entry.size, entry.sha256,
                    )  # fmt: skip

        return _FILE_COLUMNS, rows()
