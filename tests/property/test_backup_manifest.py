# SPDX-License-Identifier: Apache-2.0
"""Backup manifests: read again as they were, or refused by name."""

from __future__ import annotations

import json
import operator
from functools import reduce
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from magnetodb_backup.errors import FormatProblem
from magnetodb_backup.repository.manifests import backup_manifest_bytes, parse_backup_manifest
from tests.property.manifests import json_values, result_or_refusal
from tests.unit.domain.test_manifest import BACKUP_MANIFEST, SHARE


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


def test_a_backup_manifest_is_read_again_as_it_was() -> None:
    assert parse_backup_manifest(backup_manifest_bytes(BACKUP_MANIFEST), "n") == BACKUP_MANIFEST


@pytest.mark.parametrize("version", [0, 2, "1", None])
def test_unknown_formats_of_backups_are_refused(version: object) -> None:
    document = {**json.loads(backup_manifest_bytes(BACKUP_MANIFEST)), "format": version}
    with pytest.raises(FormatProblem, match=rf"^m: has format version {version!r}"):
        parse_backup_manifest(json.dumps(document).encode(), "m")


@given(st.data())
def test_a_backup_manifest_that_is_cut_is_refused(data: st.DataObject) -> None:
    text = backup_manifest_bytes(BACKUP_MANIFEST).rstrip()
    with pytest.raises(FormatProblem, match=r"^m: is not JSON"):
        parse_backup_manifest(text[: data.draw(st.integers(0, len(text) - 1))], "m")
