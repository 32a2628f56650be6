# SPDX-License-Identifier: Apache-2.0
"""Fingerprints of a backup as a stream of JSON lines: one file for each node that took some."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, BinaryIO

from magnetodb_backup.domain.backup.manifest import FORMAT, StoredObject
from magnetodb_backup.domain.fingerprints import (
    Fingerprint,
    RangeFingerprint,
    RangeState,
    TokenRange,
)
from magnetodb_backup.domain.partitioners import MURMUR3, RANDOM
from magnetodb_backup.domain.tables import TableName, check_name
from magnetodb_backup.errors import FormatProblem
from magnetodb_backup.repository.format.expected import ExpectedChunks
from magnetodb_backup.repository.format.lines import (
    LineWriter,
    check_format,
    checked,
    number,
    read_lines,
)
from magnetodb_backup.repository.format.names import check_sha256, check_uuid

_TOO_LONG = "the fingerprints: a line would be too long"


class FingerprintsWriter:
    """Writes header, ranges (by table and token) and trailer, compressed, into ``file``."""

    def __init__(self, file: BinaryIO, backup_id: str, host_id: str) -> None:
        self._lines, self._ranges = LineWriter(file), 0
        header = {"format": FORMAT, "backup_id": backup_id, "host_id": host_id}
        self._lines.write(header, _TOO_LONG)

    def add(self, fingerprint: RangeFingerprint) -> None:
        """Write one range's line."""
        self._lines.write(fingerprint.as_json(), _TOO_LONG)
        self._ranges += 1

    def finish(self) -> None:
        """Write the trailer; nothing may follow."""
        self._lines.write({"trailer": {"ranges": self._ranges}}, _TOO_LONG)
        self._lines.finish()


class FingerprintsReader:
    """Reads fingerprints of the backup ``backup_id``; iterate once for its ranges, each checked.

    The ranges are in order, and no token of a table is in two of them. With ``expected``, what the
    backup manifest names, the object is digested on the way.

    :raises FormatProblem: at any deviation from the format, at the end if it is cut.
    :raises CorruptObject: at the end, if it is not what is expected.
    """

    def __init__(
        self,
        chunks: Iterable[bytes],
        name: str,
        backup_id: str,
        expected: StoredObject | None = None,
    ) -> None:
        self._name = name
        self._expected = (
            ExpectedChunks(chunks, expected, f"the fingerprints {name} have", "they were")
            if expected
            else None
        )
        self._lines = read_lines(self._expected or chunks, name)
        with self._explaining():
            self.host_id = self._host_id(backup_id)

    def __iter__(self) -> Iterator[RangeFingerprint]:
        with self._explaining():
            yield from self._ranges()
        if self._expected is not None:
            self._expected.finish()

    def _explaining(self) -> contextlib.AbstractContextManager[None]:
        return self._expected.explaining() if self._expected else contextlib.nullcontext()

    def _host_id(self, backup_id: str) -> str:
        header = next(self._lines, None)
        if header is None:
            raise FormatProblem(f"{self._name}: is empty")
        check_format(header, self._name)
        return checked(self._name, _header, header, backup_id)

    def _ranges(self) -> Iterator[RangeFingerprint]:
        last: RangeFingerprint | None = None
        count = 0
        trailer: dict[str, Any] | None = None
        for document in self._lines:
            if trailer is not None:
                raise FormatProblem(f"{self._name}: something follows the trailer")
            if "trailer" in document:
                trailer = document
                continue
            fingerprint = checked(self._name, _range_fingerprint, document)
            if last is not None and not _follows(last, fingerprint):
                raise FormatProblem(
                    f"{self._name}: {fingerprint.table} {fingerprint.range} does not follow "
                    f"{last.table} {last.range}"
                )
            last = fingerprint
            count += 1
            yield fingerprint
        if trailer != {"trailer": {"ranges": count}}:
            raise FormatProblem(f"{self._name}: has {count} ranges, its trailer says {trailer}")


def _header(document: Mapping[str, Any], backup_id: str) -> str:
    if set(document) != {"format", "backup_id", "host_id"}:
        raise ValueError(f"the header has the members {', '.join(document)}")
    if document["backup_id"] != backup_id:
        raise ValueError(f"these are fingerprints of backup {document['backup_id']!r}")
    return check_uuid(document["host_id"], "node")


def _range_fingerprint(data: Mapping[str, Any]) -> RangeFingerprint:
    state = RangeState(data["state"])
    members = {"keyspace", "table", "start", "end", "state"}
    fingerprint = None
    if state is RangeState.STEADY:
        members |= {"rows", "sha256"}
        fingerprint = Fingerprint(number(data["rows"]), check_sha256(data["sha256"]))
    if set(data) != members:
        raise ValueError(f"a {state.value} range has the members {', '.join(data)}")
    table = TableName(check_name(data["keyspace"], "keyspace"), check_name(data["table"], "table"))
    found = TokenRange(_token(data["start"]), _token(data["end"]))
    if found.start >= found.end:
        raise ValueError(f"{found} is no range of tokens")
    return RangeFingerprint(table, found, state, fingerprint)


def _token(text: Any) -> int:
    if not isinstance(text, str) or str(int(text)) != text:
        raise ValueError(f"{text!r} is not a token")
    token = int(text)
    if not MURMUR3.lowest <= token <= RANDOM.highest:
        raise ValueError(f"{text} is not a token")
    return token


def _follows(last: RangeFingerprint, fingerprint: RangeFingerprint) -> bool:
    if last.table == fingerprint.table:
        return last.range.end <= fingerprint.range.start
    return last.table < fingerprint.table
