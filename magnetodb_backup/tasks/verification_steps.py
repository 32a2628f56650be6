# SPDX-License-Identifier: Apache-2.0
"""The stored results of a verification's steps, one class a step."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar

from magnetodb_backup.repository.findings import NodeChecked, VerificationReport
from magnetodb_backup.tasks.verification import Failure, SchemaApplied


@dataclass(frozen=True)
class NodeRead:
    """What was read of one node backup; ``by`` is the node that did it, empty for the conductor.

    Each node backup has a step of its own, named by its number in the backup manifest.
    """

    by: str
    checked: NodeChecked

    @staticmethod
    def step_of(number: int) -> str:
        """Return the name of the step."""
        return f"read:{number}"


@dataclass(frozen=True)
class StoreChecked:
    """Step *store*: whether the store has the packs, or every byte.

    ``read_by`` has, by host ID, the node that read a node backup; empty for the conductor.
    """

    step: ClassVar[str] = "store"

    report: VerificationReport
    read_by: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class BackupsAffected:
    """Step *affected*: the backups that need damaged packs, with the number of these packs.

    The backup that is verified is among them.
    """

    step: ClassVar[str] = "affected"

    backups: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class SchemaTried:
    """Step *schema*: the schema on a scratch Cassandra of one node, by its host ID."""

    step: ClassVar[str] = "schema"

    host_id: str
    applied: SchemaApplied


@dataclass(frozen=True)
class NodeParsed:
    """What was read of one node backup, and on which node.

    ``error`` is why it was not read to the end; the tables of the node are not proved then.
    """

    by: str
    tables: int = 0
    sstables: int = 0
    bytes: int = 0
    failures: int = 0
    version: str = ""
    error: str = ""


@dataclass(frozen=True)
class SSTablesParsed:
    """Step *parse*: what Cassandra's verifier read of each node backup, by host ID.

    ``failures`` are the first ones, with the host ID of the node backup; ``failure_count`` counts
    all; ``failed`` has every table with one, with a detail.
    """

    step: ClassVar[str] = "parse"

    nodes: Mapping[str, NodeParsed]
    failures: tuple[tuple[str, Failure], ...] = ()
    failure_count: int = 0
    failed: tuple[tuple[str, str, str], ...] = field(default=())
