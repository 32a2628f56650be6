# SPDX-License-Identifier: Apache-2.0
"""The process of a Cassandra node that consists of directories."""

from __future__ import annotations

from collections.abc import Callable

from magnetodb_backup.errors import CommandFailed
from tests.unit.worker.fake_node import FakeNode


class FakeProcess:
    """Stops and starts the node; ``node.on_start`` is called.

    ``node.refused`` commands fail, those of ``node.refused_once`` one time.
    """

    stop_timeout = start_timeout = 5.0

    def __init__(self, node: FakeNode) -> None:
        self._node = node

    def problems(self) -> list[str]:
        return ["[cassandra] stop_command is not set"] if self._node.has_no_commands else []

    def serves_clients(self) -> bool:
        self._node.starting = False  # whoever looks has waited
        return not self._node.cql_down

    def stop(self, raise_if_cancelled: Callable[[], None]) -> None:
        raise_if_cancelled()
        self._do("stop")
        self._node.cql_down = self._node.control_down = True

    def start(self, raise_if_cancelled: Callable[[], None]) -> None:
        raise_if_cancelled()
        self._do("start")
        self._node.on_start()
        self._node.starting = True
        self._node.cql_down = self._node.control_down = False
        self._node.mode = "NORMAL"
        self._node.boots = (self._node.boots or 0) + 1

    def _do(self, what: str) -> None:
        self._node.log.append(what)
        if what in self._node.refused | self._node.refused_once:
            self._node.refused_once.discard(what)
            raise CommandFailed(f"[cassandra] {what}_command ended with 1")
