# SPDX-License-Identifier: Apache-2.0
"""Backup manifests: read again as they were, or refused by name."""

from __future__ import annotations

import json
import operator
from dataclasses import replace
from functools import reduce
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from magnetodb_backup.errors import FormatProblem
from magnetodb_backup.repository.format.manifests import (
    backup_manifest_bytes,
    parse_backup_manifest,
)
from tests.property.manifests import json_values, result_or_refusal
from tests.unit.domain.backup.test_manifest import BACKUP_MANIFEST, SHARE
from tests.unit.domain.samples import BACKUP_ID, HOST_ID


@given(
    st.sampled_from([(), ("schema",), ("nodes", 0), ("nodes", 0, "manifest")]),
    st.sampled_from(
        sorted({*BACKUP_MANIFEST.as_json(), *SHARE.as_json(), "sha256", "size", "new"})
    ),
    json_values,
)
@example(("nodes", 0), "tokens", [float("inf")])
@example(("nodes", 0), "host_id", "../x")
@example((), "nodes", {"": {}})
def test_no_value_does_harm(path: tuple[Any, ...], member: str, value: Any) -> None:
    document = json.loads(backup_manifest_bytes(BACKUP_MANIFEST))
    reduce(operator.getitem, path, document)[member] = value
    text = json.dumps(document).encode()
    manifest = result_or_refusal(lambda: parse_backup_manifest(text, "m"))
    assert all(len(node.host_id) == 36 for node in (manifest.nodes if manifest else ()))


@pytest.mark.parametrize("partitioner", ["", "RandomPartitioner"])
def test_a_backup_manifest_is_read_again_as_it_was(partitioner: str) -> None:
    manifest = replace(BACKUP_MANIFEST, partitioner=partitioner)
    assert parse_backup_manifest(backup_manifest_bytes(manifest), "n") == manifest


@pytest.mark.parametrize("version", [0, 2, "1", None])
def test_unknown_formats_of_backups_are_refused(version: object) -> None:
    document = {**json.loads(backup_manifest_bytes(BACKUP_MANIFEST)), "format": version}
    with pytest.raises(FormatProblem, match=rf"^m: has format version {version!r}"):
        parse_backup_manifest(json.dumps(document).encode(), "m")


_NO_TEXT, _NO_NUMBER = [None, 5, ["x"]], [None, "5", -1, 1.0, True, 1 << 63]
_NO_TIME = [None, 5, "", "yesterday", "2024-05-06T05:29:00", "0001-01-01T00:00:00+10:00"]
_NODE = ("nodes", 0)


@pytest.mark.parametrize(
    ("path", "member", "values"),
    [
        *[((), m, _NO_TEXT) for m in ("name", "status", "schema_version", "partitioner")],
        ((), "cluster", _NO_TEXT),
        ((), "name", ["x" * 256, "a\nb", " a", "\ud800"]),
        ((), "status", ["DELETED", "created", ""]),
        ((), "created_at", _NO_TIME),
        ((), "committed_at", _NO_TIME),
        ((), "scope", [None, [], "all"]),
        ((), "coverage", [None, [], "all"]),
        ((), "selection", [None, [], {}, {"keyspaces": [], "tables": [{"keyspace": "../x"}]}]),
        ((), "skew_ms", [None, "5", 1 << 63]),
        ((), "missing_nodes", [None, "abc", [5]]),
        (("schema",), "size", _NO_NUMBER),
        (("schema",), "sha256", [None, "x", "A" * 64]),
        *[(_NODE, m, _NO_TEXT) for m in ("address", "dc", "rack", "version")],
        *[(_NODE, f"snapshot_{m}_at", _NO_TEXT) for m in ("started", "finished")],
        *[(_NODE, m, _NO_NUMBER) for m in ("files", "bytes", "corrupt_files")],
        ((*_NODE, "manifest"), "size", _NO_NUMBER),
    ],
)
def test_values_that_no_record_could_have_are_refused(
    path: tuple[Any, ...], member: str, values: list[Any]
) -> None:
    for value in values:
        document = json.loads(backup_manifest_bytes(BACKUP_MANIFEST))
        reduce(operator.getitem, path, document)[member] = value
        with pytest.raises(FormatProblem, match=r"^m: malformed backup manifest"):
            parse_backup_manifest(json.dumps(document).encode(), "m")


_FIGURES = ("figures", 0)


@pytest.mark.parametrize(
    ("path", "member", "values"),
    [
        ((), "figures", [None, {}, "abc", [5], [{}]]),
        (_FIGURES, "size", _NO_NUMBER),
        (_FIGURES, "sha256", [None, "x", "A" * 64]),
        (_FIGURES, "new", [5]),
        (
            _FIGURES,
            "name",
            [
                None, "", "schema.cql", "../../x",
                f"backups/{BACKUP_ID}/figures/../{HOST_ID}.jsonl.zst",
                f"backups/{BACKUP_ID}/nodes/{HOST_ID}.jsonl.zst",
                f"backups/{HOST_ID}/figures/{HOST_ID}.jsonl.zst",
                f"backups/{BACKUP_ID}/figures/{HOST_ID.upper()}.jsonl.zst",
            ],
        ),
    ],
)  # fmt: skip
def test_figures_that_no_backup_could_have_are_refused(
    path: tuple[Any, ...], member: str, values: list[Any]
) -> None:
    test_values_that_no_record_could_have_are_refused(path, member, values)


def test_figures_are_named_once_or_not_at_all() -> None:
    twice = replace(BACKUP_MANIFEST, figures=BACKUP_MANIFEST.figures * 2)
    with pytest.raises(FormatProblem, match="fingerprints are named twice"):
        parse_backup_manifest(backup_manifest_bytes(twice), "m")
    without = replace(BACKUP_MANIFEST, figures=())
    assert parse_backup_manifest(backup_manifest_bytes(without), "m") == without


def test_nodes_are_different_and_their_sums_are_numbers() -> None:
    twice = replace(BACKUP_MANIFEST, nodes=(SHARE, SHARE))
    with pytest.raises(FormatProblem, match="a node is named twice"):
        parse_backup_manifest(backup_manifest_bytes(twice), "m")
    large = replace(SHARE, bytes=1 << 62)
    other = replace(large, host_id="0" + SHARE.host_id[1:])
    huge = replace(BACKUP_MANIFEST, nodes=(large, other))
    with pytest.raises(FormatProblem, match=r"9223372036854775808 is not a number"):
        parse_backup_manifest(backup_manifest_bytes(huge), "m")


@given(st.data())
def test_a_backup_manifest_that_is_cut_is_refused(data: st.DataObject) -> None:
    text = backup_manifest_bytes(BACKUP_MANIFEST).rstrip()
    with pytest.raises(FormatProblem, match=r"^m: is not JSON"):
        parse_backup_manifest(text[: data.draw(st.integers(0, len(text) - 1))], "m")
