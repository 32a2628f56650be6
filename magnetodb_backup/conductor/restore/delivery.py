# SPDX-License-Identifier: Apache-2.0
"""How the parts of a restore reach the tables of the target cluster."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from magnetodb_backup.conductor.fanout import Fanout
from magnetodb_backup.conductor.job import Results, Step
from magnetodb_backup.conductor.restore.preflight import SourceBackup
from magnetodb_backup.domain.restore.parts import Part
from magnetodb_backup.domain.restore.routing import Routing
from magnetodb_backup.domain.ring import RingMember
from magnetodb_backup.domain.schema.steps import SchemaSteps
from magnetodb_backup.domain.tables import TableName
from magnetodb_backup.tasks.restore_schema import Compared
from magnetodb_backup.tasks.restore_steps import Selected


@dataclass(frozen=True)
class Rehearsal:
    """What a delivery found out before anything is changed.

    ``problems`` refuse the restore, ``warnings`` do not. ``room`` has, by host ID, the free bytes
    of each data directory, where the delivery chooses the directories itself. ``everything`` if
    no table of users is left out.
    """

    problems: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    room: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    everything: bool = False


class Delivery(Protocol):
    """Brings staged files into the tables. Every method can be repeated by another process."""

    @property
    def down_allowed(self) -> bool:
        """True if Cassandra need not run on the nodes that are restored."""

    def route(
        self,
        source: SourceBackup,
        ring: Sequence[RingMember],
        compared: Compared,
        selected: Selected,
    ) -> tuple[Routing, tuple[str, ...]]:
        """Return which node works on which node backup, and the problems that refuse that.

        :raises NotFound: if the only node to be restored has no node backup.
        """

    def contacts(self, ring: Sequence[RingMember]) -> tuple[str, ...]:
        """Return the addresses with which preflight rehearses; empty if it cannot."""

    def receivers(self, results: Results, parts: Mapping[str, Sequence[Part]]) -> list[str]:
        """Return the host IDs of the nodes that preflight looks at."""

    def rehearse(self, results: Results, routing: Routing, schema: SchemaSteps) -> Rehearsal:
        """Find out whether the delivery can work; change nothing.

        :raises BackupError: if a node cannot be asked.
        """

    def compacted(self, results: Results) -> tuple[TableName, ...]:
        """Return the tables whose automatic compaction has to wait for the delivery."""

    def deliver(self) -> Sequence[Step]:
        """Return the steps that bring the rows into the tables."""

    def finish(self, results: Results) -> None:
        """Judge the restore, and remove what it keeps on the nodes.

        :raises SSTableRefused: if Cassandra refused SSTables.
        :raises RestoreDiffers: if the rows are not those of the backup.
        """

    def undo(self, results: Results, phase: str, fanout: Fanout) -> None:
        """After a failure in ``phase``: leave the nodes as they were, as far as possible.

        ``fanout`` has short waits.
        """

    def table_states(self, results: Results, phase: str) -> Mapping[str, str]:
        """Return what is known of each target table (``keyspace.table``) when the restore ends."""
