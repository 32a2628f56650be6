# SPDX-License-Identifier: Apache-2.0
"""What preflight reads from a node manifest, and of the packs."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from magnetodb_backup.domain.backup.manifest import Extent, FileEntry
from magnetodb_backup.domain.tables import TableName
from magnetodb_backup.errors import Cancelled, FormatProblem, StorageUnavailable
from magnetodb_backup.repository.download.download import (
    NodeSummary,
    TableSummary,
    is_restored_component,
    missing_packs,
    summarise,
)
from magnetodb_backup.repository.format.manifests import NodeManifestReader
from magnetodb_backup.repository.format.names import pack_name
from magnetodb_backup.storage.driver import ObjectInfo
from tests.unit.repository.disk import TABLE_ID, header, noise
from tests.unit.repository.stages import Stage, manifest_of
from tests.unit.repository.stores import Store

T, U = TableName("ks", "t"), TableName("ks", "u")
PACKS = [f"{number:064x}" for number in range(3)]


def _entry(name: str, size: int = 10, **values: Any) -> FileEntry:
    entry = FileEntry(
        keyspace="ks",
        table="t",
        table_id=TABLE_ID,
        index=None,
        data_directory=0,
        name=name,
        size=size,
        mtime_ns=0,
        sha256="0" * 64,
        crc32=None,
        extents=(Extent(PACKS[0], 0, size),) if size else (),
    )
    return replace(entry, **values)


def _summary(entries: Iterable[FileEntry], *tables: TableName) -> NodeSummary:
    return summarise(NodeManifestReader([manifest_of(entries)], "a manifest"), tables)


@pytest.mark.parametrize(
    "name",
    [
        "nb-1-big-Data.db", "nb-1-big-Index.db", "nb-1-big-Digest.crc32", "nb-1-big-TOC.txt",
        "da-3g7k_1a2b_3c4d5e6f7g8h9i0j1k-bti-Partitions.db", "nb-1-big-Statistics.db",
        "nb-1-big-SAI.db", "oa-1-big-Filter.db",
    ],
)  # fmt: skip
def test_components_that_are_restored(name: str) -> None:
    assert is_restored_component(_entry(name))


@pytest.mark.parametrize(
    ("name", "index"),
    [
        ("manifest.json", None),
        ("schema.cql", None),
        ("nb-1-big-SAI+aa+by_name+Meta.db", None),
        ("da-1-bti-SAI+ba+GroupMeta.db", None),
        ("nb-1-big-Data.db", "by_name"),
        ("nb-1-big-Index.db", ".by_name"),
    ],
)
def test_what_cassandra_makes_anew(name: str, index: str | None) -> None:
    assert not is_restored_component(_entry(name, index=index))


def test_what_a_restore_takes() -> None:
    entries = [
        _entry("nb-1-big-Data.db", 100, extents=(Extent(PACKS[0], 50, 100),)),
        _entry("nb-1-big-Index.db", 20, extents=(Extent(PACKS[0], 0, 20),)),
        _entry("nb-1-big-Data.db", 7, index="by_name", extents=(Extent(PACKS[2], 0, 7),)),
        _entry("manifest.json", 5, extents=(Extent(PACKS[2], 7, 5),)),
        _entry("da-2-bti-Data.db", 30, extents=(Extent(PACKS[0], 0, 10), Extent(PACKS[1], 5, 20))),
        _entry("nb-3-big-Data.db", 0),
        _entry("oa-1-big-Data.db", 8, table="u", extents=(Extent(PACKS[2], 0, 8),)),
    ]
    assert _summary(entries, T) == NodeSummary(
        {T: TableSummary(files=4, bytes=150, sstables=3)},
        {PACKS[0]: 150, PACKS[1]: 25},
        (),
        frozenset({"nb", "da"}),
        {0: 150},
    )
    assert _summary(entries, T, U).tables[U] == TableSummary(1, 8, 1)
    assert _summary(entries, T, U).versions == {"nb", "da", "oa"}
    assert _summary(entries) == NodeSummary({}, {}, (), frozenset(), {})


def test_table_that_the_node_has_nothing_of() -> None:
    """Then there is nothing to tell; that the backup has it, its own manifest says."""
    assert _summary([_entry("nb-1-big-Data.db")], T, U).tables.keys() == {T}


def test_files_that_were_corrupt() -> None:
    entries = [
        _entry("nb-1-big-Data.db", corrupt=True),
        _entry("nb-1-big-Data.db", index="by_name", corrupt=True),
        _entry("nb-2-big-Data.db", table="u", corrupt=True),
    ]
    assert _summary(entries, T).corrupt == ("ks/t/nb-1-big-Data.db",)


def test_bytes_of_each_data_directory() -> None:
    entries = [
        _entry("nb-1-big-Data.db", 10),
        _entry("nb-2-big-Data.db", 20, data_directory=1),
        _entry("nb-3-big-Data.db", 30, data_directory=1),
    ]
    writer_of_two = replace(header(1), data_directories=("/a", "/b"))
    text = manifest_of(entries, writer_of_two)
    assert summarise(NodeManifestReader([text], "x"), [T]).directories == {0: 10, 1: 50}
    chosen = summarise(
        NodeManifestReader([text], "x"), [T], lambda entry: (int(entry.name[3]), False)
    )
    assert chosen.directories == {1: 10, 2: 20, 3: 30}


def test_damaged_manifest() -> None:
    text = manifest_of([_entry("nb-1-big-Data.db")])
    with pytest.raises(FormatProblem, match="a manifest: is cut off"):
        summarise(NodeManifestReader([text[:-5]], "a manifest"), [T])


def test_huge_extents_are_only_numbers() -> None:
    far = (Extent(PACKS[0], (1 << 63) - 1, (1 << 63) - 1),)
    summary = _summary([_entry("nb-1-big-Data.db", (1 << 63) - 1, extents=far)], T)
    assert summary.packs == {PACKS[0]: (1 << 64) - 2}


# Packs.


@pytest.fixture
def stored(stage: Stage) -> Stage:
    for number in range(3):
        stage.disk.write(f"f{number}", noise(number, 1000))
    stage.disk.upload(readers=1)
    stage.store.heads.clear()
    return stage


def _packs(stage: Stage) -> dict[str, int]:
    return dict(stage.disk.repository.packs())


def test_all_packs_are_there(stored: Stage) -> None:
    assert missing_packs(stored.disk.repository, _packs(stored), lambda: None) == ()
    assert len(stored.store.heads) == 3


def test_no_pack_is_needed(stored: Stage) -> None:
    assert missing_packs(stored.disk.repository, {}, lambda: None) == ()


def test_missing_and_short_packs(stored: Stage) -> None:
    packs = _packs(stored)
    lost, short, _ = packs
    stored.disk.lose(lost)
    stored.disk.damage(short, lambda body: body[:999])
    assert missing_packs(stored.disk.repository, packs, lambda: None) == (
        f"pack {lost}: missing",
        f"pack {short}: has 999 bytes, needs 1000",
    )


def test_longer_pack_than_needed(stored: Stage) -> None:
    """Only a part of it may be of the tables that are wanted."""
    assert (
        missing_packs(stored.disk.repository, dict.fromkeys(_packs(stored), 1), lambda: None) == ()
    )


def test_listing_that_lags(stored: Stage) -> None:
    packs = _packs(stored)
    stored.store.unlisted = lambda name: name == pack_name(next(iter(packs)))
    assert missing_packs(stored.disk.repository, packs, lambda: None) == ()


def test_listing_that_has_a_lost_pack(stored: Stage) -> None:
    """A dry run said that all is well, and the restore found out after hours of download."""
    (pack, *_), packs = _packs(stored), _packs(stored)
    stored.disk.lose(pack)
    stored.store.ghosts = {pack_name(pack): 1000}
    assert missing_packs(stored.disk.repository, packs, lambda: None) == (f"pack {pack}: missing",)


def test_listing_that_has_a_short_one_still(stored: Stage) -> None:
    packs = _packs(stored)
    (pack, *_) = packs
    stored.store.ghosts = {pack_name(pack): 10}
    assert missing_packs(stored.disk.repository, packs, lambda: None) == ()


def test_store_that_is_away(tmp_path: Path) -> None:
    """It is not taken for a store without packs."""

    class Away(Store):
        def head(self, container: str, name: str) -> ObjectInfo | None:
            raise StorageUnavailable("away")

    with pytest.raises(StorageUnavailable):
        missing_packs(Stage(tmp_path, Away()).disk.repository, {PACKS[0]: 1}, lambda: None)


def test_the_proof_of_packs_can_be_cancelled(stored: Stage) -> None:
    """It takes a request for each pack: minutes for a large node backup."""

    def cancel() -> None:
        raise Cancelled("the task was cancelled")

    with pytest.raises(Cancelled):
        missing_packs(stored.disk.repository, _packs(stored), cancel)
    assert stored.store.heads == []
