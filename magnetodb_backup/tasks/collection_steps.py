# SPDX-License-Identifier: Apache-2.0
"""The stored results of a collection's steps, and the result of its job."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar

from magnetodb_backup.domain.backup.collection import ContainerUse


@dataclass(frozen=True)
class Container:
    """The container of the node ``source``, and the node whose worker collects it.

    Both nodes are named by their host IDs. ``reason`` is why no worker collects it.
    """

    source: str
    host_id: str = ""
    address: str = ""
    worker_id: str = ""
    reason: str = ""

    @property
    def adopted(self) -> bool:
        """Whether the worker of another node collects it."""
        return self.host_id != self.source


@dataclass(frozen=True)
class DeletionsPurged:
    """Step *purge*: the IDs of the deleted backups whose manifests were removed for good."""

    step: ClassVar[str] = "purge"

    backups: tuple[str, ...] = ()


@dataclass(frozen=True)
class RetiredRemoved:
    """Step *retired*: the empty containers of clusters of which nothing is left."""

    step: ClassVar[str] = "retired"

    containers: tuple[str, ...] = ()


@dataclass(frozen=True)
class ContainersFound:
    """Step *containers*: the pack containers of the cluster."""

    step: ClassVar[str] = "containers"

    containers: tuple[Container, ...]


@dataclass(frozen=True)
class NodeCollected:
    """What was found in one container, and the address of the node whose worker did it.

    It is stored under the host ID without dashes. ``error`` is why the container was not collected.
    """

    by: str = ""
    adopted: bool = False
    use: ContainerUse = field(default_factory=ContainerUse)
    error: str = ""
    error_code: str = ""


@dataclass(frozen=True)
class Collected:
    """Step *collect*, and the result of the job: what was found and freed, by host ID.

    ``grace`` in seconds. With ``dry_run`` nothing was removed. ``backups`` has, by ID, the bytes
    of the packs that only this backup needs, if the report was to have them. ``quota`` is how many
    bytes the account may hold, None if the store shows no quota. ``retired`` are the removed
    containers of clusters of which nothing is left.
    """

    step: ClassVar[str] = "collect"

    cluster: str
    dry_run: bool
    grace: float
    total: ContainerUse
    nodes: Mapping[str, NodeCollected]
    backups: Mapping[str, int] = field(default_factory=dict)
    quota: int | None = None
    retired: tuple[str, ...] = ()
