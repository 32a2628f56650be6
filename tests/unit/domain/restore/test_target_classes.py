# SPDX-License-Identifier: Apache-2.0
"""Memtable configurations and classes that a target lacks, as 4.1 and 5.0.9 refuse them."""

from __future__ import annotations

import pytest

from magnetodb_backup.domain.restore.target_classes import MEMTABLES, lacking_in_target
from magnetodb_backup.domain.restore.target_settings import TargetNode
from magnetodb_backup.domain.schema.cql_text import split_statements

# As system_views.settings of 5.0.9 shows it.
_CONFIGURED = "{default=skiplist+, skiplist=SkipListMemtable, trie=TrieMemtable}"
_PACKAGE = "org.apache.cassandra.db.compaction"


def _table(option: str) -> str:
    return f"CREATE TABLE k.t (a int PRIMARY KEY) WITH {option};"


def _lacking(
    text: str, version: str = "5.0.9", memtables: str | None = None
) -> tuple[list[str], list[str]]:
    settings = {} if memtables is None else {MEMTABLES: memtables}
    nodes = [TargetNode("10.0.0.1", "5.0.9", {}), TargetNode("10.0.0.2", version, settings)]
    found = lacking_in_target(nodes, split_statements(text))
    return list(found.problems), list(found.warnings)


@pytest.mark.parametrize("known", [_CONFIGURED, "{}"])
def test_memtable_configurations(known: str) -> None:
    problems, _ = _lacking(_table("memtable = 'fast'"), memtables=known)
    assert problems == [
        f"table k.t cannot be created: {MEMTABLES} has no fast on 10.0.0.2; change that for the "
        "restore"
    ]


@pytest.mark.parametrize("name", ["trie", "skiplist", "default"])
def test_memtable_configurations_that_are_there(name: str) -> None:
    assert _lacking(_table(f"memtable = '{name}'"), memtables=_CONFIGURED) == ([], [])
    assert _lacking(_table("memtable = 'fast'")) == ([], [])  # it is not known


@pytest.mark.parametrize(
    ("name", "version"),
    [("DateTieredCompactionStrategy", "5.0.9"), ("UnifiedCompactionStrategy", "4.1.10")],
)
@pytest.mark.parametrize("package", ["", f"{_PACKAGE}."])
def test_classes_of_other_releases(package: str, name: str, version: str) -> None:
    problems, warnings = _lacking(_table(f"compaction = {{'class': '{package}{name}'}}"), version)
    assert len(problems) == 1
    assert f"Cassandra {version} has no {name} on" in problems[0]
    assert problems[0].endswith("change that for the restore")
    assert warnings == []


def test_index_of_another_release_can_be_left_out() -> None:
    text = "CREATE CUSTOM INDEX i ON k.t (a) USING 'StorageAttachedIndex';"
    (problem,), _ = _lacking(text, "4.1.10")
    assert "has no StorageAttachedIndex on 10.0.0.2" in problem
    assert problem.endswith("--skip index=k.i")


@pytest.mark.parametrize(
    "text",
    [
        _table("compaction = {'class': 'org.example.Own'}"),
        _table("compression = {'class': 'org.example.Own'}"),
        "CREATE CUSTOM INDEX i ON k.t (a) USING 'org.example.Own';",
        "CREATE TRIGGER g ON k.t USING 'org.example.Own';",
    ],
)
def test_classes_of_others_are_named(text: str) -> None:
    problems, (warning,) = _lacking(text)
    assert problems == []
    assert warning.startswith("every node needs the class org.example.Own for ")
    assert "k." in warning


def test_usual_tables_lack_nothing() -> None:
    text = _table(
        f"compaction = {{'class': '{_PACKAGE}.SizeTieredCompactionStrategy', "
        "'max_threshold': '32'} AND compression = {'chunk_length_in_kb': '16', 'class': "
        "'org.apache.cassandra.io.compress.LZ4Compressor'} AND memtable = 'default'"
    )
    assert _lacking(text + "CREATE INDEX i ON k.t (a);", memtables="{}") == ([], [])
