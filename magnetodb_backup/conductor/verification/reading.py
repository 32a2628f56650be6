# SPDX-License-Identifier: Apache-2.0
"""Gives each node backup to a worker that reads its packs; the conductor reads what is left."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Any

from magnetodb_backup.conductor.calls import call_of, result_of
from magnetodb_backup.conductor.definition import JobContext
from magnetodb_backup.conductor.fanout import Call, Outcome
from magnetodb_backup.conductor.verification.progress import ProgressRecord
from magnetodb_backup.conductor.verification.readers import Reader, Readers
from magnetodb_backup.domain.backup.manifest import NodeShare
from magnetodb_backup.domain.backup.records import Backup
from magnetodb_backup.domain.backup.sample import Sample
from magnetodb_backup.domain.jobs import Job
from magnetodb_backup.errors import Cancelled, StillUnavailable, UnknownTask, WrongNode
from magnetodb_backup.repository.findings import DESCRIBED, FURTHER
from magnetodb_backup.repository.node import NodeRepository
from magnetodb_backup.repository.node_check import CheckedNode, CheckHooks, CheckPlan, check_node
from magnetodb_backup.tasks.codec import decode, encode
from magnetodb_backup.tasks.verification import ReadPacks, ReadPacksAsOf
from magnetodb_backup.tasks.verification_steps import NodeRead

LOG = logging.getLogger(__name__)
# Another worker may do it: this one is gone, or its release does not know the task.
_TRY_ANOTHER = (StillUnavailable, UnknownTask, WrongNode)
# What the results of all nodes describe and name together; at least so many of each node.
_DESCRIBED_IN_ALL, _FURTHER_IN_ALL = 20_000, 1_000_000
_DESCRIBED_OF_EACH, _FURTHER_OF_EACH = 20, 1000


class Reading:
    """Reads the data of all node backups on the workers, side by side.

    Each node's own worker reads its node backup, others those without one. The result of each is
    stored as soon as it is there, so that another conductor does not ask for it again. What no
    worker can read, the conductor reads itself: a cluster that has no worker yet, or workers of an
    older release, can be verified too.
    """

    def __init__(
        self,
        job: Job,
        backup: Backup,
        context: JobContext,
        progress: ProgressRecord,
        sample: Sample | None,
        as_of: datetime | None = None,
    ) -> None:
        self._job, self._backup, self._context = job, backup, context
        self._progress, self._sample, self._as_of = progress, sample, as_of
        self._readers = Readers(context, backup.cluster)
        self._read: dict[str, NodeRead] = {}
        self._numbers: dict[str, int] = {}
        self._bounds = {"described": DESCRIBED, "further": FURTHER}

    def run(self, shares: Sequence[NodeShare]) -> Mapping[str, NodeRead]:
        """Return what was read of each node backup, by host ID, in the order of ``shares``.

        :raises BackupError: if the conductor cannot read what no worker has read.
        """
        self._progress.expect(shares)
        self._numbers = {share.host_id: number for number, share in enumerate(shares)}
        count = max(len(shares), 1)
        self._bounds = {
            "described": min(DESCRIBED, max(_DESCRIBED_OF_EACH, _DESCRIBED_IN_ALL // count)),
            "further": min(FURTHER, max(_FURTHER_OF_EACH, _FURTHER_IN_ALL // count)),
        }
        self._load_earlier()
        left = [share for share in shares if share.host_id not in self._read]
        for share in self._by_workers(left):
            self._read_here(share)
        return {share.host_id: self._read[share.host_id] for share in shares}

    def _load_earlier(self) -> None:
        """Take over what an earlier attempt has stored."""
        steps = self._context.database.jobs.step_results(self._job.id, self._job.round)
        for host_id, number in self._numbers.items():
            stored = steps.get(NodeRead.step_of(number))
            if stored is not None:
                read = decode(NodeRead, stored)
                if read.checked.host_id == host_id:
                    self._show(read)
                    self._read[host_id] = read

    def _by_workers(self, shares: list[NodeShare]) -> list[NodeShare]:
        """Let workers read node backups; return those that none has read."""
        failed: list[NodeShare] = []
        while shares:
            readers = self._readers.choose(shares)
            if not readers:
                break
            outcomes = self._try(shares, readers)
            again = []
            for share, outcome in zip(shares, outcomes, strict=True):
                error = outcome.error
                if isinstance(error, Cancelled):
                    raise error
                if isinstance(error, _TRY_ANOTHER):
                    self._readers.leave_out(outcome.call.worker_id)
                    again.append(share)
                elif error is not None:
                    failed.append(share)
                if error is not None:
                    LOG.warning("job %s: %s: %s", self._job.id, error.code, error)
            shares = again
        return failed + shares

    def _try(self, shares: Sequence[NodeShare], readers: Sequence[Reader]) -> list[Outcome]:
        calls = [self._call(s, reader) for s, reader in zip(shares, readers, strict=True)]
        sources = {call.task_id: s.host_id for call, s in zip(calls, shares, strict=True)}

        def ended(outcome: Outcome) -> None:
            if outcome.error is None:
                self._keep(NodeRead(outcome.call.host, result_of(ReadPacks, outcome)))

        return self._context.fanout().run(
            calls,
            progress=lambda call, p: self._progress.node(sources[call.task_id], p),
            ended=ended,
            stop_at_first_error=False,
        )

    def _call(self, share: NodeShare, reader: Reader) -> Call:
        arguments: dict[str, Any] = {
            "host_id": reader.member.host_id,
            "cluster": self._backup.cluster,
            "backup_id": self._backup.id,
            "job_id": self._job.id,
            "source": share.host_id,
            "address": share.address,
            "manifest": share.manifest,
            "sample": self._sample,
            **self._bounds,
        }
        task = (
            ReadPacksAsOf(**arguments, as_of=self._as_of) if self._as_of else ReadPacks(**arguments)
        )
        task_id = f"{self._job.id}:read:{share.host_id}"
        return call_of(task, reader.member, reader.worker_id, task_id)

    def _read_here(self, share: NodeShare) -> None:
        LOG.info("job %s: reading node backup %s here", self._job.id, share.host_id)
        context, cluster = self._context, self._backup.cluster
        packs = NodeRepository(context.storage(), context.settings.prefix, cluster, share.host_id)
        hooks = CheckHooks(
            context.raise_if_cancelled,
            progress=lambda p: self._progress.node(share.host_id, asdict(p)),
        )
        checked = check_node(
            context.repository(cluster),
            packs,
            self._backup.id,
            CheckedNode.of(share),
            CheckPlan(True, self._sample, **self._bounds),
            hooks,
        )
        self._keep(NodeRead("", checked))

    def _keep(self, read: NodeRead) -> None:
        """Store a result, so that it is not asked for again."""
        host_id = read.checked.host_id
        step = NodeRead.step_of(self._numbers[host_id])
        self._context.database.jobs.save_step(self._job.id, self._job.round, step, encode(read))
        self._read[host_id] = read
        self._show(read)

    def _show(self, read: NodeRead) -> None:
        checked = read.checked
        amounts = {
            "files_total": checked.files,
            "files_done": checked.files,
            "bytes_total": checked.bytes_read,
            "bytes_done": checked.bytes_read,
        }
        self._progress.node(checked.host_id, amounts, done=True)
