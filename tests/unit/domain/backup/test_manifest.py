# SPDX-License-Identifier: Apache-2.0
"""The records of repository format 1 as documents, member by member."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

from magnetodb_backup.domain.backup.manifest import (
    BackupManifest,
    Extent,
    FileEntry,
    MissingNode,
    NodeManifestHeader,
    NodeShare,
    StoredObject,
)
from tests.unit.domain.samples import BACKUP_ID, HIGHEST_TOKEN, HOST_ID, LOWEST_TOKEN

PACK, DIGEST = "a" * 64, "b" * 64
ENTRY = FileEntry(
    keyspace="ks",
    table="t",
    table_id="0" * 32,
    index=".by_name",
    data_directory=1,
    name="nb-1-big-Data.db",
    size=30,
    mtime_ns=1_700_000_000_123_456_789,
    sha256=DIGEST,
    crc32=4_000_000_000,
    extents=(Extent(PACK, 5, 10), Extent(DIGEST, 0, 20)),
)
_NODE: dict[str, Any] = {
    "host_id": HOST_ID,
    "address": "10.0.0.1",
    "dc": "dc1",
    "rack": "r1",
    "version": "5.0.9",
    "tokens": (LOWEST_TOKEN, HIGHEST_TOKEN),
    "snapshot_started_at": "2024-05-06T05:30:00+00:00",
    "snapshot_finished_at": "2024-05-06T05:30:01+00:00",
}
HEADER = NodeManifestHeader(
    backup_id=BACKUP_ID,
    cluster="Test Cluster",
    data_directories=("/data1", "/data2"),
    snapshot_tag="mdbb-1",
    **_NODE,
)
SHARE = NodeShare(
    manifest=StoredObject("backups/x/nodes/y.jsonl.zst", 100, DIGEST),
    files=2,
    bytes=30,
    corrupt_files=0,
    **_NODE,
)
BACKUP_MANIFEST = BackupManifest(
    backup_id=BACKUP_ID,
    name="nightly",
    cluster="Test Cluster",
    status="PARTIAL",
    created_at="2024-05-06T05:29:00+00:00",
    committed_at="2024-05-06T05:31:00+00:00",
    scope={"type": "all"},
    selection={"keyspaces": [], "tables": []},
    schema=StoredObject("schema.cql", 10, DIGEST),
    schema_version="v",
    skew_ms=3,
    coverage={"ks": {"status": "partial"}},
    nodes=(SHARE,),
    missing_nodes=("another",),
    figures=(StoredObject(f"backups/{BACKUP_ID}/figures/{HOST_ID}.jsonl.zst", 70, DIGEST),),
)


def test_a_file_is_one_object_with_its_extents_as_triples() -> None:
    assert ENTRY.as_json() == {
        "keyspace": "ks",
        "table": "t",
        "table_id": "0" * 32,
        "index": ".by_name",
        "data_directory": 1,
        "name": "nb-1-big-Data.db",
        "size": 30,
        "mtime_ns": 1_700_000_000_123_456_789,
        "sha256": DIGEST,
        "crc32": 4_000_000_000,
        "extents": [[PACK, 5, 10], [DIGEST, 0, 20]],
    }


def test_only_a_corrupt_file_says_so() -> None:
    assert replace(ENTRY, corrupt=True).as_json()["corrupt"] is True
    assert "corrupt" not in ENTRY.as_json()


def test_a_header_names_the_format_and_has_tokens_as_strings() -> None:
    document = HEADER.as_json()
    assert document["format"] == 1
    assert document["tokens"] == [str(LOWEST_TOKEN), str(HIGHEST_TOKEN)]
    assert document["data_directories"] == ["/data1", "/data2"]
    assert (document["backup_id"], document["host_id"]) == (BACKUP_ID, HOST_ID)


def test_a_share_survives_json() -> None:
    document = json.loads(json.dumps(SHARE.as_json()))
    assert document["tokens"] == [str(LOWEST_TOKEN), str(HIGHEST_TOKEN)]
    assert document["manifest"]["sha256"] == DIGEST
    assert NodeShare.from_json(document) == SHARE


def test_a_backup_manifest_names_its_nodes_and_those_that_are_missing() -> None:
    document = json.loads(json.dumps(BACKUP_MANIFEST.as_json()))
    assert document["format"] == 1
    assert document["nodes"] == [json.loads(json.dumps(SHARE.as_json()))]
    assert document["missing_nodes"] == ["another"]
    assert document["schema"] == {"name": "schema.cql", "size": 10, "sha256": DIGEST}
    assert document["status"] == "PARTIAL"


def test_the_places_of_missing_nodes_are_kept_where_there_are_some() -> None:
    """Without them a node that has replaced a missing one could be taken for it."""
    missing = MissingNode("another", "dc1", "r1", (-5, 7))
    kept = replace(BACKUP_MANIFEST, missing_ring=(missing,))
    document = json.loads(json.dumps(kept.as_json()))
    assert [MissingNode.from_json(n) for n in document["missing_ring"]] == [missing]
    assert kept.missing() == (missing,)
    assert "missing_ring" not in BACKUP_MANIFEST.as_json()
    assert BACKUP_MANIFEST.missing() == (MissingNode("another"),)


def test_figures_are_named_where_there_are_some() -> None:
    (stored,) = BACKUP_MANIFEST.as_json()["figures"]
    assert (stored["size"], stored["sha256"]) == (70, DIGEST)
    assert "figures" not in replace(BACKUP_MANIFEST, figures=()).as_json()


def test_a_partitioner_is_stored_unless_tokens_show_that_it_is_the_default() -> None:
    """Releases that do not know the member refuse a manifest that has it."""
    default = replace(BACKUP_MANIFEST, partitioner="Murmur3Partitioner")
    assert "partitioner" not in default.as_json()
    positive = replace(default, nodes=(replace(SHARE, tokens=(0, HIGHEST_TOKEN)),))
    assert positive.as_json()["partitioner"] == "Murmur3Partitioner"
    other = replace(BACKUP_MANIFEST, partitioner="RandomPartitioner")
    assert other.as_json()["partitioner"] == "RandomPartitioner"


def test_tokens_show_the_partitioner_of_an_older_manifest() -> None:
    assert BACKUP_MANIFEST.found_partitioner() == "Murmur3Partitioner"
    assert _of_tokens(1 << 100).found_partitioner() == "RandomPartitioner"
    assert _of_tokens(0).found_partitioner() == ""
    away = replace(_of_tokens(0), missing_ring=(MissingNode("another", tokens=(-5,)),))
    assert away.found_partitioner() == "Murmur3Partitioner"


def _of_tokens(*tokens: int) -> BackupManifest:
    return replace(BACKUP_MANIFEST, nodes=(replace(SHARE, tokens=tokens),))
