# SPDX-License-Identifier: Apache-2.0
"""What the preflight of a restore found."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from magnetodb_backup.domain.restore.routing import Routing
from magnetodb_backup.domain.restore.target_settings import TargetNode
from magnetodb_backup.domain.ring import RingMember
from magnetodb_backup.domain.schema.cql_text import Statement
from magnetodb_backup.domain.schema.steps import SchemaSteps
from magnetodb_backup.tasks.cluster import Member
from magnetodb_backup.tasks.restore import NodePreflight
from magnetodb_backup.tasks.restore_schema import Compared
from magnetodb_backup.tasks.restore_steps import Selected


@dataclass(frozen=True)
class LeftOut:
    """The statements that are left out as requested, and the options that name nothing."""

    statements: tuple[Statement, ...] = ()
    unused: tuple[str, ...] = ()


@dataclass(frozen=True)
class Findings:
    """What preflight found; ``nodes`` by host ID, ``partitioner`` is that of the target.

    ``absent`` are members of the ring without a usable worker.
    """

    ring: Sequence[RingMember]
    selected: Selected
    compared: Compared
    routing: Routing
    steps: SchemaSteps
    nodes: Mapping[str, NodePreflight]
    left_out: LeftOut = LeftOut()
    partitioner: str = ""
    absent: tuple[Member, ...] = ()

    def target_nodes(self) -> list[TargetNode]:
        """Return what the nodes report of themselves."""
        members = {m.host_id: m for m in self.ring}
        return [
            TargetNode(members[h].address, n.version, n.settings, n.superuser)
            for h, n in self.nodes.items()
        ]
