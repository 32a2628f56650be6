# SPDX-License-Identifier: Apache-2.0
"""backup cancel, backup delete, backup verify."""

from __future__ import annotations

import sys
from argparse import ArgumentParser, Namespace
from typing import Any

from cliff.show import ShowOne
from typing_extensions import override

from magnetodb_backup.cli.app import FAILED, ServiceCommand
from magnetodb_backup.cli.backup import show
from magnetodb_backup.cli.backup_create import add_waiting
from magnetodb_backup.cli.waiting import Waiter
from magnetodb_backup.domain.backup.records import Backup, Job
from magnetodb_backup.domain.backup.status import BackupStatus, JobKind, JobStatus
from magnetodb_backup.domain.backup.views import backup_view, job_view


class _OnBackup(ServiceCommand, ShowOne):
    _wait = False
    _code = 0

    def get_parser(self, prog_name: str) -> ArgumentParser:
        parser: ArgumentParser = super().get_parser(prog_name)
        parser.add_argument("backup", help="ID, unique name, or the ID's first 8 or more digits")
        add_waiting(parser, default=self._wait)
        return parser

    def run(self, parsed_args: Namespace) -> int:
        return int(super().run(parsed_args) or 0) or self._code

    def _find(self, parsed_args: Namespace) -> Backup:
        return self.services.database().backups.find(parsed_args.backup)

    def _waiter(self, parsed_args: Namespace) -> Waiter:
        return Waiter(self.services, parsed_args.timeout)

    def _ended(self, backup: Backup, wanted: BackupStatus, error: str) -> None:
        """Say if the end is another one than wanted."""
        if backup.status is not wanted:
            self._code = FAILED
            reason = f": {error}" if error else ""
            sys.stderr.write(
                f"error: the backup is {backup.status.value}, not {wanted.value}{reason}\n"
            )


class Cancel(_OnBackup):
    """Cancel a backup that runs."""

    @override
    def take_action(self, parsed_args: Namespace) -> Any:
        backup = self.services.requests().cancel_backup(self._find(parsed_args).id)
        if parsed_args.wait:
            backup = self._waiter(parsed_args).backup(backup.id)
            self._ended(backup, BackupStatus.CANCELLED, backup.error)
        return show(parsed_args, backup_view(backup))


class Delete(_OnBackup):
    """Delete a backup: its manifests. Its packs stay, other backups may need them."""

    @override
    def take_action(self, parsed_args: Namespace) -> Any:
        backup = self.services.requests().delete_backup(self._find(parsed_args).id)
        database = self.services.database()
        deletion = database.jobs.latest(backup.id, JobKind.DELETION)
        if parsed_args.wait and deletion is not None:
            # One that runs is cancelled first: only the job tells the end.
            deletion = self._waiter(parsed_args).job(deletion.id)
            backup = database.backups.get(backup.id)
            self._ended(backup, BackupStatus.DELETED, deletion.error)
        return show(parsed_args, backup_view(backup))


class Verify(_OnBackup):
    """Prove that a backup's bytes are in the store."""

    _wait = True

    @override
    def get_parser(self, prog_name: str) -> ArgumentParser:
        parser = super().get_parser(prog_name)
        parser.add_argument(
            "--read-data", action="store_true", help="read every byte back and check its digest"
        )
        return parser

    @override
    def take_action(self, parsed_args: Namespace) -> Any:
        backup = self._find(parsed_args)
        requests = self.services.requests()
        job = requests.verify_backup(backup.id, read_data=parsed_args.read_data)
        if parsed_args.wait:
            job = self._waiter(parsed_args).job(job.id)
            self._code = _tell(job)
        view = job_view(job)
        result = view.pop("result") or {}
        return show(parsed_args, {**view, **result})


def _tell(job: Job) -> int:
    """Write what is wrong to standard error; return the exit code."""
    if job.status is not JobStatus.DONE:
        sys.stderr.write(f"error: the verification is {job.status.value}: {job.error}\n")
        return FAILED
    problems = (job.result or {}).get("problems", [])
    for problem in problems:
        where = f"node {problem['host_id']}" if problem["host_id"] else "cluster"
        affected = f"; {problem['file_count']} files" if problem["file_count"] else ""
        sys.stderr.write(
            f"error: {where}: {problem['kind']} {problem['pack']}: {problem['detail']}{affected}\n"
        )
    if problems:
        sys.stderr.write("error: make a new backup: it uploads again what is missing\n")
    return FAILED if problems else 0
