# SPDX-License-Identifier: Apache-2.0
"""backup create, list, show, cancel."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from typing_extensions import override

from magnetodb_backup.cli.app import DONE, FAILED, PARTIAL
from magnetodb_backup.cli.backup_options import add_backup_options, backup_options
from magnetodb_backup.cli.show import ListCommand, RecordCommand, cell
from magnetodb_backup.cli.summary import backup_fields, backup_summary, follow_up
from magnetodb_backup.cli.verification import finding_lines, proof_lines, running_lines
from magnetodb_backup.cli.waiting import Waiter, add_waiting
from magnetodb_backup.domain.backup.findings import MOST_FINDINGS, Finding
from magnetodb_backup.domain.backup.proofs import Proof
from magnetodb_backup.domain.backup.records import Backup, BackupRequest, NodeBackup
from magnetodb_backup.domain.backup.status import BackupStatus
from magnetodb_backup.domain.backup.views import backup_view
from magnetodb_backup.domain.jobs import JobKind, JobStatus, Subject


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
    if name == "findings":
        return "\n".join(f"{f['object']} {f['name']}: {f['problem']}" for f in value)
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


class BackupCommand(RecordCommand):
    """Shows a backup."""

    def backup_columns(
        self,
        parsed_args: Namespace,
        backup: Backup,
        nodes: Sequence[NodeBackup] | None,
        proofs: Sequence[Proof] | None = None,
        verification: Sequence[str] = (),
        findings: Sequence[Finding] | None = None,
    ) -> Any:
        """Return columns for cliff; ``verification`` are lines on one that runs."""
        return self.shown(
            parsed_args,
            backup_view(backup, nodes, proofs, findings),
            brief=lambda: backup_fields(
                backup,
                nodes or (),
                tuple(proof_lines(proofs or ())),
                verification,
                tuple(finding_lines(findings or ())),
            ),
            text=_cell,
        )


class List(ListCommand):
    """List backups, newest first."""

    noun = "backup"
    columns: tuple[str, ...] = (
        "id", "name", "cluster", "data_centers", "status", "created_at", "files", "bytes",
        "bytes_uploaded", "waiting_for",
    )  # fmt: skip
    of_deleted = ("deleted_at", "undelete_until")
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
        if parsed_args.all or parsed_args.status == BackupStatus.DELETED.value:
            self.columns = (*self.columns[:-1], *self.of_deleted, self.columns[-1])
        return self.rows(parsed_args, (backup_view(backup) for backup in backups))


class Show(BackupCommand):
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
        job = database.jobs.latest(Subject.backup(backup.id), JobKind.VERIFICATION)
        running = tuple(running_lines(job)) if job is not None else ()
        findings = database.findings.of_backup(backup.id, MOST_FINDINGS)
        return self.backup_columns(parsed_args, backup, nodes, proofs, running, findings)


class Create(BackupCommand):
    """Back up all keyspaces, some keyspaces, or a list of tables (column families)."""

    @override
    def get_parser(self, prog_name: str) -> ArgumentParser:
        parser = super().get_parser(prog_name)
        parser.add_argument("--name", default="", help="human-readable name, unique")
        parser.add_argument(
            "--cluster", help="cluster to back up; required if the service has several"
        )
        add_backup_options(parser)
        add_waiting(parser, default=False)
        return parser

    @override
    def take_action(self, parsed_args: Namespace) -> Any:
        chosen = backup_options(parsed_args)
        request = BackupRequest(
            **{**chosen, "data_centers": tuple(chosen["data_centers"])},
            name=parsed_args.name,
            cluster=parsed_args.cluster,
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


class OnBackup(BackupCommand):
    """Starts a job on a backup and, if asked, waits for its end."""

    _wait = False

    @override
    def get_parser(self, prog_name: str) -> ArgumentParser:
        parser = super().get_parser(prog_name)
        add_backup(parser)
        add_waiting(parser, default=self._wait)
        return parser

    def find(self, parsed_args: Namespace) -> Backup:
        """Return the backup that the arguments name."""
        return self.services.database().backups.find(parsed_args.backup)

    def waiter(self, parsed_args: Namespace) -> Waiter:
        """Return what waits for the job."""
        return Waiter(self.services, parsed_args.timeout)

    def expect(self, backup: Backup, wanted: BackupStatus, error: str) -> None:
        """Fail unless the backup has the wanted status."""
        if backup.status is not wanted:
            reason = f": {error}" if error else ""
            found = f"the backup is {backup.status.value}, not {wanted.value}{reason}"
            self.ends(FAILED, ("error", found))


class Cancel(OnBackup):
    """Cancel a running backup, or the verification of a complete one."""

    @override
    def take_action(self, parsed_args: Namespace) -> Any:
        found = self.find(parsed_args)
        backup = self.services.requests().cancel_backup(found.id)
        if parsed_args.wait and found.status is not BackupStatus.CREATING:
            jobs = self.services.database().jobs
            job = jobs.latest(Subject.backup(backup.id), JobKind.VERIFICATION)
            assert job is not None
            job = self.waiter(parsed_args).job(job.id)
            if job.status is not JobStatus.CANCELLED:
                found_status = f"the verification is {job.status.value}, not CANCELLED"
                self.ends(FAILED, ("error", found_status))
        elif parsed_args.wait:
            backup = self.waiter(parsed_args).backup(backup.id)
            self.expect(backup, BackupStatus.CANCELLED, backup.error)
        return self.backup_columns(parsed_args, backup, None)
