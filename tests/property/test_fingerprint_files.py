# SPDX-License-Identifier: Apache-2.0
"""Files of fingerprints: read again unchanged; changed ones are refused by name."""

from __future__ import annotations

import io
import json
import tracemalloc
from itertools import pairwise
from typing import Any

import pytest
import zstandard
from hypothesis import example, given
from hypothesis import strategies as st

from magnetodb_backup.domain.fingerprints import (
    Fingerprint,
    RangeFingerprint,
    RangeState,
    TokenRange,
)
from magnetodb_backup.domain.partitioners import MURMUR3, RANDOM
from magnetodb_backup.domain.tables import TableName
from magnetodb_backup.errors import FormatProblem
from magnetodb_backup.repository.format.fingerprints import FingerprintsReader, FingerprintsWriter
from tests.property.manifests import (
    LARGEST,
    digests,
    json_values,
    lines_of,
    names,
    result_or_refusal,
    stored_lines,
    tokens,
)
from tests.unit.domain.samples import BACKUP_ID, HOST_ID

DIGEST = "ab" * 32
TABLE = TableName("ks", "t")


def _written(fingerprints: list[RangeFingerprint]) -> bytes:
    file = io.BytesIO()
    writer = FingerprintsWriter(file, BACKUP_ID, HOST_ID)
    for fingerprint in fingerprints:
        writer.add(fingerprint)
    writer.finish()
    return file.getvalue()


def _read(stored: bytes, chunk: int = 1 << 16) -> list[RangeFingerprint]:
    chunks = (stored[begin : begin + chunk] for begin in range(0, len(stored), chunk))
    return list(FingerprintsReader(chunks, "the fingerprints", BACKUP_ID))


LOWEST, HIGHEST = MURMUR3.lowest, MURMUR3.highest
FIGURES = [
    RangeFingerprint(TABLE, TokenRange(LOWEST, -7), RangeState.STEADY, Fingerprint(3, DIGEST)),
    RangeFingerprint(TABLE, TokenRange(-7, HIGHEST), RangeState.CHANGING),
    RangeFingerprint(TableName("ks", "u"), TokenRange(LOWEST, HIGHEST), RangeState.UNREAD),
]
LINES = lines_of(_written(FIGURES))


@st.composite
def _fingerprints(draw: st.DrawFn) -> list[RangeFingerprint]:
    fingerprints = []
    for table in sorted(draw(st.sets(st.builds(TableName, names, names), max_size=3))):
        bounds = sorted(draw(st.sets(tokens, min_size=2, max_size=6)))
        for start, end in pairwise(bounds):
            fingerprint = draw(st.none() | st.builds(Fingerprint, st.integers(0, LARGEST), digests))
            state = (
                RangeState.STEADY if fingerprint else draw(st.sampled_from(list(RangeState)[1:]))
            )
            fingerprints.append(RangeFingerprint(table, TokenRange(start, end), state, fingerprint))
    return fingerprints


@given(_fingerprints(), st.integers(1, 5000))
def test_fingerprints_are_read_again_as_they_were(
    fingerprints: list[RangeFingerprint], chunk: int
) -> None:
    assert _read(_written(fingerprints), chunk) == fingerprints


def _changed(number: int, **members: object) -> list[dict[str, Any]]:
    return [{**line, **members} if n == number else line for n, line in enumerate(LINES)]


def _refused(lines: list[Any], reason: str = "") -> None:
    with pytest.raises(FormatProblem, match=rf"(?s)^the fingerprints: .*{reason}"):
        _read(stored_lines(lines))


def test_the_untouched_lines_are_read() -> None:
    assert _read(stored_lines(LINES)) == FIGURES


@pytest.mark.parametrize("version", [0, 2, "1", None])
def test_unknown_formats_are_refused(version: object) -> None:
    _refused(_changed(0, format=version), "use the version of magnetodb-backup that wrote it")


@pytest.mark.parametrize("value", [None, 5, "", "../x", HOST_ID.upper()])
def test_headers_are_checked(value: object) -> None:
    _refused(_changed(0, backup_id=value), "these are fingerprints of backup")
    _refused(_changed(0, host_id=value))
    _refused(_changed(0, new=value))
    _refused(_changed(0, backup_id=HOST_ID), f"these are fingerprints of backup '{HOST_ID}'")


@pytest.mark.parametrize("value", ["", "../x", "a/b", "a.b", "x" * 223, 'a"b', 5, None])
def test_names_are_names_of_cassandra(value: object) -> None:
    _refused(_changed(1, keyspace=value))
    _refused(_changed(1, table=value))


@pytest.mark.parametrize(
    "value",
    ["", "x", " 5", "5 ", "+5", "05", "1_0", "5.0", 5, None, str(RANDOM.highest + 1), "-1e3", "٣"],
)
def test_tokens_are_tokens(value: object) -> None:
    _refused(_changed(1, start=value))
    _refused(_changed(2, end=value))


@pytest.mark.parametrize("value", [-1, 1 << 63, 10**400, 1.0, float("nan"), True, "5", None, [5]])
def test_rows_are_numbers_of_a_sane_size(value: object) -> None:
    _refused(_changed(1, rows=value), "is not a number|is not JSON")


@pytest.mark.parametrize("value", [None, 5, "", "x", DIGEST.upper(), DIGEST[1:], DIGEST + "0"])
def test_digests_are_digests(value: object) -> None:
    _refused(_changed(1, sha256=value))


def test_only_steady_ranges_have_rows() -> None:
    _refused(_changed(1, state="changing"), "a changing range has the members")
    _refused(_changed(2, state="steady"))
    _refused(_changed(2, rows=5), "a changing range has the members")
    _refused(_changed(1, state="new"))
    _refused(_changed(1, new=5), "a steady range has the members")


@pytest.mark.parametrize("number", [0, 1, 2, 3, 4])
def test_every_member_is_needed(number: int) -> None:
    for member in LINES[number]:
        lines = [dict(line) for line in LINES]
        del lines[number][member]
        _refused(lines)


def test_ranges_are_in_order_and_apart() -> None:
    _refused([LINES[0], LINES[2], LINES[1], *LINES[3:]], "does not follow")
    _refused([*LINES[:2], *LINES[1:]], "does not follow")
    _refused(_changed(2, start="-8"), "does not follow ks.t")
    _refused([LINES[0], LINES[3], *LINES[1:3], LINES[4]], "ks.t .* does not follow ks.u")
    _refused(_changed(1, end=str(LOWEST)), "is no range of tokens")
    _refused(_changed(2, start=str(HIGHEST)), "is no range of tokens")


@pytest.mark.parametrize("trailer", [{"ranges": 2}, {"ranges": 3, "more": 0}, {}, [], None, 3])
def test_the_trailer_must_fit(trailer: object) -> None:
    _refused([*LINES[:-1], {"trailer": trailer}], "has 3 ranges, its trailer says")
    _refused(LINES[:-1], "has 3 ranges, its trailer says None")
    _refused([*LINES, LINES[3]], "something follows the trailer")


def test_fingerprints_that_expand_without_end_take_little_memory() -> None:
    compressor = zstandard.ZstdCompressor().compressobj()
    bomb = compressor.compress(json.dumps(LINES[0]).encode() + b"\n")
    bomb += b"".join(compressor.compress(b" " * (1 << 24)) for _ in range(40)) + compressor.flush()
    tracemalloc.start()
    try:
        with pytest.raises(FormatProblem, match=r"a line is longer than 16777216 bytes"):
            _read(bomb)
        assert tracemalloc.get_traced_memory()[1] < 150 << 20
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("stored", [b"", b"{}\n", b"\x28\xb5\x2f\xfd", _written(FIGURES)[:-3]])
def test_what_is_no_whole_frame_is_refused(stored: bytes) -> None:
    with pytest.raises(FormatProblem, match=r"is not Zstandard data|is cut off|is empty"):
        _read(stored)


@given(st.integers(0, 4), st.sampled_from(sorted({k for line in LINES for k in line})), json_values)
@example(1, "start", "1" * 5000)
@example(4, "trailer", {"ranges": float("inf")})
def test_no_value_does_harm(number: int, member: str, value: Any) -> None:
    lines = _changed(number, **{member: value})
    fingerprints = result_or_refusal(lambda: _read(stored_lines(lines)))
    assert all(LOWEST <= f.range.start < f.range.end <= RANDOM.highest for f in fingerprints or [])


@given(st.data())
def test_no_flipped_byte_does_harm(data: st.DataObject) -> None:
    stored = bytearray(_written(FIGURES))
    stored[data.draw(st.integers(0, len(stored) - 1))] ^= data.draw(st.integers(1, 255))
    fingerprints = result_or_refusal(lambda: _read(bytes(stored)))
    assert all(LOWEST <= f.range.start < f.range.end <= RANDOM.highest for f in fingerprints or [])
