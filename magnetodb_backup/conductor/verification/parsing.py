# SPDX-License-Identifier: Apache-2.0
"""Gives each node backup to a worker whose scratch Cassandra parses its SSTables."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from magnetodb_backup.conductor.calls import call_of, result_of
from magnetodb_backup.conductor.definition import JobContext
from magnetodb_backup.conductor.fanout import Call, Outcome
from magnetodb_backup.conductor.verification.progress import ProgressRecord
from magnetodb_backup.conductor.verification.readers import Reader, Readers
from magnetodb_backup.domain.backup.manifest import NodeShare
from magnetodb_backup.domain.backup.records import Backup
from magnetodb_backup.domain.jobs import Job
from magnetodb_backup.errors import (
    BackupError,
    Cancelled,
    MissingWorker,
    StillUnavailable,
    WrongNode,
)
from magnetodb_backup.tasks.verification import Failure, Parsed, ParseSSTables, ParseSSTablesAsOf
from magnetodb_backup.tasks.verification_steps import NodeParsed, SSTablesParsed

_MOST_DESCRIBED = 1000  # failures of all nodes in one step result
# Another worker can do it: the node's own one is gone.
_GONE = (StillUnavailable, WrongNode)


class Parsing:
    """Runs step *parse*: each node's own worker reads its node backup, others those without one."""

    def __init__(
        self,
        job: Job,
        backup: Backup,
        context: JobContext,
        progress: ProgressRecord,
        as_of: datetime | None = None,
    ) -> None:
        self._job, self._backup, self._context = job, backup, context
        self._progress, self._as_of = progress, as_of
        self._readers = Readers(context, backup.cluster)

    def run(self, shares: Sequence[NodeShare]) -> SSTablesParsed:
        """Return what was read of each node backup.

        A node backup that cannot be read has the reason.

        :raises MissingWorker: if the cluster has no live worker.
        :raises BackupError: the first error, if no node backup could be read.
        """
        self._progress.expect(shares)
        found = _Found()
        left = list(shares)
        while left:
            outcomes = self._try(left)
            gone = [s for s, o in zip(left, outcomes, strict=True) if isinstance(o.error, _GONE)]
            for outcome in outcomes:
                if isinstance(outcome.error, _GONE):
                    self._readers.leave_out(outcome.call.worker_id)
            again = gone if self._readers.choose(gone) else []
            for share, outcome in zip(left, outcomes, strict=True):
                if share not in again:
                    found.add(share.host_id, outcome)
            left = again
        return found.result()

    def _try(self, shares: Sequence[NodeShare]) -> list[Outcome]:
        readers = self._readers.choose(shares)
        if not readers:
            raise MissingWorker(
                f"cluster {self._backup.cluster!r} has no live worker that could read the "
                "SSTables; start magnetodb-backup-worker on its nodes"
            )
        calls = [self._call(s, reader) for s, reader in zip(shares, readers, strict=True)]
        sources = {call.task_id: s.host_id for call, s in zip(calls, shares, strict=True)}
        return self._context.fanout().run(
            calls,
            progress=lambda call, p: self._progress.node(sources[call.task_id], p),
            ended=lambda outcome: self._progress.node(sources[outcome.call.task_id], {}, done=True),
            stop_at_first_error=False,
        )

    def _call(self, share: NodeShare, reader: Reader) -> Call:
        arguments: dict[str, Any] = {
            "host_id": reader.member.host_id,
            "cluster": self._backup.cluster,
            "backup_id": self._backup.id,
            "job_id": self._job.id,
            "source": share.host_id,
            "manifest": share.manifest,
        }
        task = (
            ParseSSTablesAsOf(**arguments, as_of=self._as_of)
            if self._as_of
            else ParseSSTables(**arguments)
        )
        task_id = f"{self._job.id}:parse:{share.host_id}"
        return call_of(task, reader.member, reader.worker_id, task_id)


class _Found:
    """The results of all node backups, bounded so that they can be stored."""

    def __init__(self) -> None:
        self._nodes: dict[str, NodeParsed] = {}
        self._failures: list[tuple[str, Failure]] = []
        self._failed: dict[tuple[str, str], str] = {}
        self._count = 0
        self._first_error: BackupError | None = None

    def add(self, source: str, outcome: Outcome) -> None:
        by = outcome.call.host
        try:
            parsed: Parsed = result_of(ParseSSTables, outcome)
        except Cancelled:
            raise
        except BackupError as error:
            self._first_error = self._first_error or error
            self._nodes[source] = NodeParsed(by, error=str(error)[:1000])
            return
        failures = parsed.failures
        self._nodes[source] = NodeParsed(
            by, parsed.tables, parsed.sstables, parsed.bytes, failures.count, parsed.version
        )
        self._count += failures.count
        room = _MOST_DESCRIBED - len(self._failures)
        self._failures += [(source, failure) for failure in failures.described[:room]]
        for keyspace, table, detail in failures.tables:
            self._failed.setdefault((keyspace, table), f"node {by}: {detail}")

    def result(self) -> SSTablesParsed:
        if self._first_error and all(node.error for node in self._nodes.values()):
            raise self._first_error
        failed = tuple((*table, detail) for table, detail in self._failed.items())
        return SSTablesParsed(self._nodes, tuple(self._failures), self._count, failed)
