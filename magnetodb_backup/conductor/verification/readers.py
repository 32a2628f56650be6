# SPDX-License-Identifier: Apache-2.0
"""Which worker of a cluster verifies which node backup."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from magnetodb_backup.conductor.definition import JobContext
from magnetodb_backup.domain.backup.manifest import NodeShare
from magnetodb_backup.domain.ring import RingMember


@dataclass(frozen=True)
class Reader:
    """A node that reads a node backup, and its worker."""

    member: RingMember
    worker_id: str


class Readers:
    """The live workers of a cluster; Cassandra itself need not run on their nodes."""

    def __init__(self, context: JobContext, cluster: str) -> None:
        self._context, self._cluster = context, cluster
        self._left_out: set[str] = set()

    def leave_out(self, worker_id: str) -> None:
        """Choose a worker no more: it does not answer, or cannot do the task."""
        self._left_out.add(worker_id)

    def choose(self, shares: Sequence[NodeShare]) -> list[Reader]:
        """Return a reader for each node backup, its own node where that has one.

        The others take turns. There is no reader if there is no worker.
        """
        readers = self._live()
        others = sorted(readers)
        if not others:
            return []
        return [
            readers.get(share.host_id) or readers[others[number % len(others)]]
            for number, share in enumerate(shares)
        ]

    def _live(self) -> Mapping[str, Reader]:
        """Return the readers by the host IDs of their nodes."""
        nodes = self._context.database.nodes.list(
            live_within=self._context.settings.worker_timeout, cluster=self._cluster
        )
        return {
            node.report.member.host_id: Reader(node.report.member, node.report.worker_id)
            for node in nodes
            if node.live and node.report.member and node.report.worker_id not in self._left_out
        }
