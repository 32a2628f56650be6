# SPDX-License-Identifier: Apache-2.0
"""The rules of ``test_repository_machine.py`` find each fault that would lose a backup.

One part of the service is broken at a time; a history that fails has to be found soon. Without
these tests a machine that never reaches a collision would pass for a proof.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import settings
from hypothesis.stateful import run_state_machine_as_test
from typing_extensions import override

from magnetodb_backup.domain.backup.collection import ContainerUse
from magnetodb_backup.domain.backup.manifest import BackupManifest, StoredObject
from magnetodb_backup.errors import NotFound
from magnetodb_backup.repository.cluster import ClusterRepository
from magnetodb_backup.repository.collect.collect import collect_container
from magnetodb_backup.repository.collect.records import Terms
from magnetodb_backup.repository.format.manifests import NodeManifestReader
from magnetodb_backup.repository.node import NodeRepository
from magnetodb_backup.repository.upload.file_index import FileIndex
from magnetodb_backup.worker.backup.containers import Containers
from magnetodb_backup.worker.tasks import TaskContext
from tests.property.repository_machine import CollectionMachine
from tests.property.repository_parts import Asked, Parts
from tests.property.test_repository_machine import WITHOUT_SHRINKING

_EXAMPLES = 500  # each fault needs a few dozen
_FAULTS = r"is deleted|packs that are gone|database is locked"


class _Hiding(ClusterRepository):
    """A cluster's container without the manifests of one backup."""

    def __init__(self, cluster: ClusterRepository, hidden: str) -> None:
        vars(self).update(vars(cluster))
        self._hidden = hidden

    @override
    def original_node_manifest(
        self, backup_id: str, host_id: str, expected: StoredObject | None = None
    ) -> NodeManifestReader:
        if backup_id == self._hidden:
            raise NotFound("hidden")
        return super().original_node_manifest(backup_id, host_id, expected)

    @override
    def read_backup(self, backup_id: str) -> BackupManifest:
        if backup_id == self._hidden:
            raise NotFound("hidden")
        return super().read_backup(backup_id)


def _does_not_mark_one_manifest(
    repository: NodeRepository,
    cluster: ClusterRepository,
    index: FileIndex | None,
    terms: Terms,
    **more: Any,
) -> ContainerUse:
    hidden = max((id_ for id_, known in terms.known.items() if known.required), default="")
    known = {id_: known for id_, known in terms.known.items() if id_ != hidden}
    blind, fewer = _Hiding(cluster, hidden), replace(terms, known=known)
    return collect_container(repository, blind, index, fewer, **more)


def _sweeps_at_the_first_look(
    repository: NodeRepository,
    cluster: ClusterRepository,
    index: FileIndex | None,
    terms: Terms,
    **more: Any,
) -> ContainerUse:
    hasty = replace(terms, grace=-terms.grace)
    collect_container(repository, cluster, index, hasty, **more)
    return collect_container(repository, cluster, index, hasty, **more)


class _Open(Containers):
    """Any number of tasks may use a container at the same time."""

    @override
    @contextmanager
    def hold(self, host_id: str, context: TaskContext) -> Iterator[None]:
        yield

    @override
    def is_held(self, host_id: str) -> bool:
        return False


class _Endless(Asked):
    """A task that believes that its conductor asks for ever."""

    @override
    def unasked_for(self) -> float:
        return 0.0


BROKEN = {
    "mark": Parts(collect=_does_not_mark_one_manifest),
    "grace": Parts(collect=_sweeps_at_the_first_look),
    "lock": Parts(containers=_Open),
    "lease": Parts(context=_Endless),
}


# Without these rules a collection meets a backup sooner.
_LEFT_OUT = (
    "write", "write_many", "drop", "delete", "undelete", "purge", "let_expire", "wait", "destroy",
    "collect", "repack", "change_the_weather",
)  # fmt: skip


@pytest.mark.parametrize("broken", BROKEN)
def test_a_fault_is_found(broken: str) -> None:
    changes = {**dict.fromkeys(_LEFT_OUT), "parts": BROKEN[broken]}
    machine = type("Broken", (CollectionMachine,), changes)
    # An index that two tasks use at the same time may fail before a pack is lost.
    with pytest.raises((AssertionError, sqlite3.OperationalError), match=_FAULTS):
        run_state_machine_as_test(
            machine,
            settings=settings(
                max_examples=_EXAMPLES,
                stateful_step_count=10,
                phases=WITHOUT_SHRINKING,
                report_multiple_bugs=False,
            ),
        )
