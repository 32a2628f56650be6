# SPDX-License-Identifier: Apache-2.0
"""Node manifests that somebody else changed: refused by name, or harmless."""

from __future__ import annotations

import json
import tracemalloc
from dataclasses import replace
from typing import Any

import pytest
import zstandard
from hypothesis import example, given
from hypothesis import strategies as st

from magnetodb_backup.errors import FormatProblem
from tests.property.manifests import (
    LARGEST,
    json_values,
    lines_of,
    read,
    result_or_refusal,
    stored_lines,
    written,
)
from tests.unit.domain.backup.test_manifest import DIGEST, ENTRY, HEADER, PACK

LINES = lines_of(written(HEADER, [ENTRY, replace(ENTRY, name="nb-1-big-Index.db")]))
UNSAFE = [
    "../x", "..", ".", "", "/etc/passwd", "a/b", "a/../b", "x\0", "x\ny", "x" * 256, "ä" * 128,
    "\ud800", 5, None, ["x"], True,
]  # fmt: skip
NO_NUMBERS = [-1, 1 << 63, 10**400, 1.0, float("nan"), float("inf"), True, "5", None, [5]]


def changed(number: int, **members: object) -> list[dict[str, Any]]:
    """Return the lines with members of one of them changed."""
    return [{**line, **members} if n == number else line for n, line in enumerate(LINES)]


def refused(lines: list[Any], reason: str = "") -> None:
    with pytest.raises(FormatProblem, match=rf"(?s)^the manifest: .*{reason}"):
        read(stored_lines(lines))


def test_the_untouched_lines_are_read() -> None:
    assert len(read(stored_lines(LINES))) == 2


@pytest.mark.parametrize("value", UNSAFE, ids=repr)
def test_names_that_could_lead_elsewhere_are_refused(value: object) -> None:
    refused(changed(1, name=value))
    refused(changed(1, keyspace=value))
    refused(changed(1, table=value))
    if value is not None:
        refused(changed(1, index=value))


@pytest.mark.parametrize("value", ["x.y", "a b", "a-b", "x" * 223, "naïve"])
def test_keyspaces_and_tables_are_names_of_cassandra(value: str) -> None:
    refused(changed(1, keyspace=value), "is not a keyspace name")
    refused(changed(1, table=value), "is not a table name")


@pytest.mark.parametrize("value", NO_NUMBERS, ids=repr)
def test_numbers_are_numbers_of_a_sane_size(value: object) -> None:
    refused(changed(1, size=value))
    refused(changed(1, data_directory=value))
    refused(changed(1, extents=[[PACK, value, 30]]))
    refused(changed(1, extents=[[PACK, 0, value]]))
    if value != -1:  # before 1970
        refused(changed(1, mtime_ns=value))
    if value is not None:
        refused(changed(1, crc32=value))


@pytest.mark.parametrize(
    "value", [DIGEST.upper(), DIGEST[1:], DIGEST + "0", "../" + DIGEST, 5, None]
)
def test_digests_are_digests(value: object) -> None:
    refused(changed(1, sha256=value))
    refused(changed(1, extents=[[value, 0, 30]]))
    refused(changed(1, table_id=value))


@pytest.mark.parametrize(
    "extents",
    [[], [[PACK, 0, 29]], [[PACK, 0, 31]], [[PACK, 0, LARGEST], [PACK, 0, LARGEST]], [[PACK, 30]],
     [PACK], None, {}, 30],
    ids=repr,
)  # fmt: skip
def test_extents_make_the_whole_file(extents: object) -> None:
    refused(changed(1, extents=extents))


def test_a_data_directory_is_one_of_the_header() -> None:
    refused(changed(1, data_directory=2), "data directory 2 of nb-1-big-Data.db")


@pytest.mark.parametrize("version", [0, 2, "1", None, [], 1.5])
def test_unknown_formats_are_refused_with_what_to_do(version: object) -> None:
    refused(changed(0, format=version), "has format version .* use the version of magnetodb-backup")
    without = [{k: v for k, v in LINES[0].items() if k != "format"}, *LINES[1:]]
    refused(without, "has format version None")


@pytest.mark.parametrize("member", [*HEADER.as_json(), "new_member"])
@pytest.mark.parametrize("value", [None, 5, {}, [5], [float("inf")]], ids=repr)
def test_headers_are_checked_member_by_member(member: str, value: object) -> None:
    refused(changed(0, **{member: value}))


@pytest.mark.parametrize("member", ["backup_id", "host_id"])
@pytest.mark.parametrize("value", ["", "x", "../" + HEADER.host_id, HEADER.host_id.upper()])
def test_ids_of_the_header_are_ids(member: str, value: str) -> None:
    refused(changed(0, **{member: value}), "is not the ID of a")


@pytest.mark.parametrize("number", [0, 1, 2])
def test_every_member_is_needed(number: int) -> None:
    for member in LINES[number]:
        lines = [dict(line) for line in LINES]
        del lines[number][member]
        refused(lines)


@pytest.mark.parametrize(
    "trailer",
    [
        {"files": 1, "bytes": 60, "corrupt_files": 0},
        {"files": 2, "bytes": 59, "corrupt_files": 0},
        {"files": 2, "bytes": 60, "corrupt_files": 1},
        {"files": 2, "bytes": 60},
        {"files": 2, "bytes": 60, "corrupt_files": 0, "more": 0},
        [],
        None,
    ],
    ids=repr,
)
def test_the_trailer_must_fit(trailer: object) -> None:
    refused([*LINES[:-1], {"trailer": trailer}])


def test_lines_may_not_be_removed_repeated_or_follow_the_trailer() -> None:
    refused([LINES[0], LINES[2], LINES[3]], "has 1 files of 30 bytes, its trailer says")
    refused([*LINES[:3], *LINES[1:]], "has 4 files|something follows the trailer")
    refused([*LINES, LINES[3]], "something follows the trailer")
    refused([*LINES, LINES[1]], "something follows the trailer")
    refused([LINES[0], *LINES], "malformed line")


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b"\n", "is not JSON"),
        (b"{\n", "is not JSON"),
        (b"\xff\xfe\n", "is not JSON"),
        (b"[]\n", "is not a JSON object"),
        (b"5\n", "is not a JSON object"),
        (b"[" * 100_000 + b"\n", "is not JSON"),
        (b'{"name":' + b"9" * 5000 + b"}\n", "is not JSON"),
    ],
    ids=lambda value: repr(value)[:16],
)
def test_lines_are_json_objects(line: bytes, reason: str) -> None:
    refused([LINES[0], line, *LINES[1:]], reason)


@pytest.mark.parametrize("stored", [b"\n", b"{}\n", b"PK\3\4" * 100, b"\x28\xb5\x2f\xfd"])
def test_what_is_no_frame_is_refused(stored: bytes) -> None:
    with pytest.raises(FormatProblem, match=r"is not Zstandard data|is cut off"):
        read(stored)


def test_a_manifest_that_expands_without_end_takes_little_memory() -> None:
    compressor = zstandard.ZstdCompressor().compressobj()
    bomb = compressor.compress(json.dumps(LINES[0]).encode() + b"\n")
    bomb += b"".join(compressor.compress(b" " * (1 << 24)) for _ in range(40)) + compressor.flush()
    tracemalloc.start()
    try:
        with pytest.raises(FormatProblem, match=r"a line is longer than 16777216 bytes"):
            read(bomb)
        assert tracemalloc.get_traced_memory()[1] < 150 << 20
    finally:
        tracemalloc.stop()


def test_a_frame_without_its_end_is_refused_though_every_line_is_there() -> None:
    compressor = zstandard.ZstdCompressor().compressobj()
    text = b"".join(json.dumps(line).encode() + b"\n" for line in LINES)
    stored = compressor.compress(text) + compressor.flush(zstandard.COMPRESSOBJ_FLUSH_BLOCK)
    end = compressor.flush()
    assert len(read(stored + end)) == 2
    with pytest.raises(FormatProblem, match=r"^the manifest: is cut off$"):
        read(stored)


@given(st.integers(0, 3), st.sampled_from(sorted({k for line in LINES for k in line})), json_values)
@example(0, "tokens", [float("inf")])
@example(3, "trailer", {"files": "x"})
def test_no_value_does_harm(number: int, member: str, value: Any) -> None:
    lines = changed(number, **{member: value})
    files = result_or_refusal(lambda: read(stored_lines(lines)))
    assert all("/" not in f"{f.keyspace}{f.table}{f.index}{f.name}" for f in files or [])


@given(st.data())
def test_no_flipped_byte_does_harm(data: st.DataObject) -> None:
    stored = bytearray(written(HEADER, [ENTRY]))
    stored[data.draw(st.integers(0, len(stored) - 1))] ^= data.draw(st.integers(1, 255))
    files = result_or_refusal(lambda: read(bytes(stored)))
    assert all("/" not in f"{f.keyspace}{f.table}{f.index}{f.name}" for f in files or [])
