# SPDX-License-Identifier: Apache-2.0
"""A writer writes nothing that a reader refuses; a reader refuses what it does not know."""

from __future__ import annotations

import io
import json
from dataclasses import replace

import pytest

from magnetodb_backup.domain.backup.manifest import (
    BackupManifest,
    Extent,
    FileEntry,
    MissingNode,
)
from magnetodb_backup.errors import FormatProblem
from magnetodb_backup.repository.format.manifests import (
    NodeManifestReader,
    NodeManifestWriter,
    backup_manifest_bytes,
    parse_backup_manifest,
)
from tests.unit.domain.backup.test_manifest import BACKUP_MANIFEST
from tests.unit.repository.disk import TABLE_ID, header


def _parsed(**members: object) -> BackupManifest:
    document = {**BACKUP_MANIFEST.as_json(), **members}
    return parse_backup_manifest(json.dumps(document).encode(), "manifest.json")


def test_backup_of_a_data_centre_says_what_a_reader_must_know() -> None:
    """A release that does not know it refuses the backup, as it does every unknown member."""
    other = MissingNode("another", "dc2", "r1", (-5, 7))
    of_dc1 = replace(BACKUP_MANIFEST, data_centers=("dc1",), other_nodes=(other,))
    document = of_dc1.as_json()
    assert (document["features"], document["data_centers"]) == (["data_centers"], ["dc1"])
    assert parse_backup_manifest(backup_manifest_bytes(of_dc1), "m") == of_dc1
    new = {"features", "data_centers", "other_nodes"}
    assert new <= set(document)
    assert not new & set(BACKUP_MANIFEST.as_json())


def test_features_that_are_not_known_are_refused_by_name() -> None:
    with pytest.raises(FormatProblem) as failure:
        _parsed(features=["data_centers", "incremental", {}], parent="x")
    assert "features that this version does not know (incremental, {})" in str(failure.value)
    assert "use a newer version" in str(failure.value)
    assert _parsed(features=["data_centers"]).data_centers == ()
    with pytest.raises(FormatProblem, match="malformed backup manifest"):
        _parsed(features="data_centers")


@pytest.mark.parametrize(
    "members",
    [
        {"data_centers": "dc1"},
        {"data_centers": ["dc9"]},
        {"other_nodes": [{"host_id": 1}]},
        {"other_nodes": ["another"]},
        {"coverage": {"ks": "complete"}},
    ],
    ids=str,
)
def test_malformed_members(members: dict[str, object]) -> None:
    with pytest.raises(FormatProblem, match="malformed backup manifest"):
        _parsed(**members)


def _entry(extents: int) -> FileEntry:
    """Return a large file whose packs are small; each extent takes 74 bytes of its line."""
    parts = (Extent("ab" * 32, 0, 1),) * extents
    return FileEntry(
        "ks", "t", TABLE_ID, None, 0, "nb-1-big-Data.db", extents, 0, "cd" * 32, None, parts
    )


def test_line_that_no_reader_would_accept_is_not_written() -> None:
    file = io.BytesIO()
    writer = NodeManifestWriter(file, header(1))
    with pytest.raises(FormatProblem) as failure:
        writer.add(_entry(230_000))
    assert "the line of 'nb-1-big-Data.db' would be longer than 16777216" in str(failure.value)
    assert "[worker] pack_size" in str(failure.value)
    whole = _entry(2)
    writer.add(whole)
    writer.finish()
    assert list(NodeManifestReader([file.getvalue()], "m")) == [whole]
