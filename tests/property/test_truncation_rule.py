# SPDX-License-Identifier: Apache-2.0
"""The truncation rule: any request on any tables, with a whole restore job on simulated nodes.

Rows are bodies of SSTables. A body that begins with ``hide`` is a deletion: it is no live row, and
hides the rest of its text.
"""

from __future__ import annotations

import enum
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from magnetodb_backup.database import connect
from magnetodb_backup.domain.restore.records import Existing, RestoreStatus
from magnetodb_backup.domain.schema.parts import Schema
from magnetodb_backup.domain.tables import TableDescription, TableName
from tests.unit.cassandra.tree import table
from tests.unit.conductor.cluster import Cluster
from tests.unit.conductor.restoring import Restoring
from tests.unit.worker import fake_changes
from tests.unit.worker.fake_cql import FakeCql
from tests.unit.worker.fake_node import FakeNode

T, U, V = (TableName("ks", name) for name in "tuv")
OTHER = TableName("other", "t")  # not in the backup
_BESIDE = TableName("beside", "t")
_LEFT = b"left by a crash"


class State(enum.Enum):
    """What happened to a table since the backup."""

    KEPT = "kept"
    DROPPED = "dropped"
    CREATED_AGAIN = "created again"


@dataclass(frozen=True)
class Now:
    """A table when the restore is requested; ``bodies`` are in it, ``left`` in its directory."""

    state: State
    bodies: tuple[bytes, ...]
    left: bool


@dataclass(frozen=True)
class Case:
    """A request, and the tables that it finds; V is created after the backup."""

    existing: Existing
    tables: tuple[TableName, ...]
    target: TableName | None  # a new name of the only table
    now: Mapping[TableName, Now]

    def targets(self) -> dict[TableName, TableName]:
        """Return the target of each table of the backup that is restored."""
        if self.target is not None:
            return {self.tables[0]: self.target}
        return {name: name for name in self.tables or (T, U)}

    def exists(self, name: TableName) -> bool:
        return name in self.now and self.now[name].state is not State.DROPPED

    def bodies(self, name: TableName) -> list[bytes]:
        """Return what a table has before the restore."""
        return list(self.now[name].bodies) if self.exists(name) else []

    def refused(self) -> bool:
        """Return whether the restore must be refused."""
        if self.existing is not Existing.REFUSE:
            return False
        if self.target is not None:
            return self.exists(self.target)
        return any(live(self.bodies(name)) for name in self.targets())


def live(bodies: Sequence[bytes]) -> list[bytes]:
    """Return the rows that are not deleted."""
    hidden = {body.removeprefix(b"hide ") for body in bodies if body.startswith(b"hide ")}
    return [b for b in bodies if not b.startswith(b"hide ") and b not in hidden]


_bodies = st.lists(
    st.sampled_from((b"newer", b"hide newer", b"hide 1 ks.t", b"hide 1 ks.u", b"hide all")),
    max_size=3,
    unique=True,
).map(tuple)
_now = st.builds(Now, st.sampled_from(State), _bodies, st.booleans())


@st.composite
def cases(draw: st.DrawFn) -> Case:
    existing = draw(st.sampled_from(Existing))
    now = {name: draw(_now) for name in (T, U, V, OTHER)}
    tables = draw(st.sampled_from(((), (T,), (U,), (T, U))))
    target = None
    if len(tables) == 1 and draw(st.booleans()):
        names = [T, U, V, TableName("ks", "w"), _BESIDE, OTHER]
        target = draw(st.sampled_from([name for name in names if name not in tables]))
    return Case(existing, tables, target, now)


class _Cql(FakeCql):
    def has_rows(self, name: TableName) -> bool:
        super().has_rows(name)
        return any(live(fake_changes.rows(node, name)) for node in self._node.ring)


class Backed:
    """A node with a backup, which each case brings back to the moment after the backup."""

    def __init__(self, cluster: Cluster) -> None:
        self.node = cluster.nodes[1]
        self.node.make_cql = _Cql  # before the backup, which connects
        self.restoring = Restoring(cluster)
        self._tables, self._schema = list(self.node.tables), self.node.schema
        self._files = {
            path: path.read_bytes()
            for found in self._tables
            for path in fake_changes.table_files(self.node, found.name)
        }

    def reset(self) -> None:
        for directory in self.node.data.paths:
            for keyspace in {name.keyspace for name in (T, OTHER, _BESIDE)}:
                shutil.rmtree(directory / keyspace, ignore_errors=True)
        self.node.tables, self.node.schema = list(self._tables), self._schema
        for path, content in self._files.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)


@pytest.fixture(scope="module")
def backed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Backed]:
    directory = tmp_path_factory.mktemp("truncation")
    database = connect(f"sqlite:///{directory / 'catalogue.sqlite'}")
    database.sync()
    database.close()
    cluster = Cluster(directory, directory / "catalogue.sqlite", size=1)
    yield Backed(cluster)
    cluster.stopping.set()
    cluster.database.close()


def _change(node: FakeNode, name: TableName, now: Now, number: int) -> None:
    """Do to a table what happened since the backup."""
    known = {t.name: t for t in node.tables}
    if name not in known:  # was not there yet
        if name.keyspace not in Schema.read(node.schema).keyspaces:
            fake_changes.execute(
                [node], fake_changes.keyspace_text(name.keyspace, node.replication)
            )
        fake_changes.execute([node], fake_changes.table_text(table(*_parts(name), number)))
        known[name] = next(t for t in node.tables if t.name == name)
    if now.state is not State.KEPT:
        fake_changes.drop([node], name)
        if now.left:
            node.write(known[name], "nb-7-big-Data.db", _LEFT)
    if now.state is State.CREATED_AGAIN:
        fake_changes.execute([node], fake_changes.table_text(table(*_parts(name), number + 50)))
    for path in fake_changes.table_files(node, name):
        path.unlink()
    for found in [t for t in node.tables if t.name == name]:
        for generation, body in enumerate(now.bodies, start=30):
            node.write(found, f"nb-{generation}-big-Data.db", body)


def _parts(name: TableName) -> tuple[str, str]:
    return name.keyspace, name.table


def _content(node: FakeNode) -> dict[TableName, list[bytes]]:
    return {t.name: fake_changes.rows(node, t.name) for t in node.tables}


def _ids(node: FakeNode) -> dict[TableName, TableDescription]:
    return {t.name: t for t in node.tables}


# A whole job is too slow to search for a smaller case.
@settings(max_examples=25, phases=[Phase.generate])
@given(case=cases())
def test_only_targets_are_truncated(backed: Backed, case: Case) -> None:
    restoring, node = backed.restoring, backed.node
    backed.reset()
    saved = _content(node)
    for number, (name, now) in enumerate(case.now.items(), start=11):
        _change(node, name, now, number)
    before, tables = _content(node), _ids(node)
    restoring.forget()
    request: dict[str, Any] = {"existing": case.existing, "tables": tuple(map(str, case.tables))}
    if case.target is not None:
        request |= {"to_keyspace": case.target.keyspace, "to_table": case.target.table}
    restore = restoring.restore(**request)
    if case.refused():
        assert restore.status is RestoreStatus.RESTORE_FAILED
        assert (_content(node), _ids(node)) == (before, tables)
        assert restoring.changes() == []
        return
    assert (restore.status, restore.error) == (RestoreStatus.RESTORED, "")
    targets = case.targets()
    merged = case.existing is Existing.MERGE
    expected = dict(before)
    for source, target in targets.items():
        beside = case.bodies(target) if merged else []
        expected[target] = sorted([*saved[source], *beside])
    assert _content(node) == expected
    assert {name: t for name, t in _ids(node).items() if name in tables} == tables
    assert restoring.told("cql DROP") == []
    emptied = {t for t in targets.values() if not (merged and case.exists(t))}
    assert {s.split()[-1] for s in restoring.told("cql TRUNCATE")} == set(map(str, emptied))
