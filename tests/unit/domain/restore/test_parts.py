# SPDX-License-Identifier: Apache-2.0
"""Which node proves that the store has the packs of which node backup."""

from __future__ import annotations

from magnetodb_backup.domain.backup.manifest import StoredObject
from magnetodb_backup.domain.restore.parts import Part, TableRef, shared_proofs
from magnetodb_backup.domain.tables import TableName

_MANIFEST = StoredObject("nodes/a", 1, "0" * 64)
T, U = (TableRef(TableName("ks", name), TableName("ks", name)) for name in "tu")


def _part(source: str, *tables: TableRef) -> Part:
    return Part(source=source, manifest=_MANIFEST, tables=tables)


def test_one_node_proves_a_node_backup_that_all_have() -> None:
    """Each of N nodes asked for the packs of N node backups."""
    nodes = ("1", "2", "3")
    work = {node: [_part(source, T) for source in "abc"] for node in nodes}
    proofs = shared_proofs(work)
    assert sorted(source for sources in proofs.values() for source in sources) == ["a", "b", "c"]
    assert [len(proofs[node]) for node in nodes] == [1, 1, 1]


def test_all_tables_are_proved() -> None:
    work = {"1": [_part("a", T)], "2": [_part("a", U)], "3": [_part("a", T, U)]}
    assert shared_proofs(work) == {"1": ("a",), "2": ("a",), "3": ()}
    assert shared_proofs({"1": []}) == {"1": ()}
