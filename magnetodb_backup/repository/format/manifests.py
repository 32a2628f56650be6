# SPDX-License-Identifier: Apache-2.0
"""Node manifests as a stream of JSON lines, and the backup manifest as one document."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict
from datetime import datetime, timezone
from typing import Any, BinaryIO

from magnetodb_backup.domain.backup.manifest import (
    FEATURES,
    BackupManifest,
    Extent,
    FileEntry,
    MissingNode,
    NodeManifestHeader,
    NodeManifestTrailer,
    NodeShare,
    StoredObject,
)
from magnetodb_backup.domain.backup.records import check_backup_name
from magnetodb_backup.domain.backup.status import BackupStatus
from magnetodb_backup.domain.tables import Selection, check_name
from magnetodb_backup.errors import BackupError, FormatProblem
from magnetodb_backup.repository.format.expected import ExpectedChunks
from magnetodb_backup.repository.format.lines import (
    LONGEST_LINE,
    LineWriter,
    check_format,
    checked,
    number,
    read_document,
    read_lines,
    texts,
)
from magnetodb_backup.repository.format.names import (
    check_fingerprints_name,
    check_sha256,
    check_uuid,
)


class NodeManifestWriter:
    """Writes header, entries and trailer, compressed, into ``file``."""

    def __init__(self, file: BinaryIO, header: NodeManifestHeader) -> None:
        self._lines = LineWriter(file)
        self._header = header
        self.files = self.bytes = self.corrupt_files = 0
        self._line(header.as_json())

    def add(self, entry: FileEntry) -> None:
        """Write one file's line.

        :raises FormatProblem: if a reader would refuse it.
        """
        document = entry.as_json()
        checked("the node manifest", _entry, document, self._header)
        self._line(document)
        self.files += 1
        self.bytes += entry.size
        self.corrupt_files += entry.corrupt

    def finish(self) -> NodeManifestTrailer:
        """Write the trailer; nothing may follow."""
        trailer = NodeManifestTrailer(self.files, self.bytes, self.corrupt_files)
        self._line({"trailer": asdict(trailer)})
        self._lines.finish()
        return trailer

    def _line(self, document: Mapping[str, Any]) -> None:
        self._lines.write(
            document,
            f"the node manifest: the line of {document.get('name')!r} would be longer than "
            f"{LONGEST_LINE} bytes; set a larger [worker] pack_size",
        )


class NodeManifestReader:
    """Reads a node manifest; iterate once for its entries, each checked.

    With ``expected``, what the backup manifest names, the object is digested on the way. ``locate``
    replaces the extents whose bytes were moved since.

    :raises FormatProblem: at any deviation from the format, at the end if it is cut.
    :raises CorruptObject: at the end, if it is not what is expected.
    """

    def __init__(
        self,
        chunks: Iterable[bytes],
        name: str,
        expected: StoredObject | None = None,
        locate: Callable[[Iterator[FileEntry]], Iterator[FileEntry]] = lambda entries: entries,
    ) -> None:
        self._name, self._locate = name, locate
        self._expected = _expected(chunks, expected)
        self._lines = read_lines(self._expected or chunks, name)
        with self._explaining():
            self.header = self._header()
        self.trailer: NodeManifestTrailer | None = None

    def __iter__(self) -> Iterator[FileEntry]:
        return self._locate(self._checked_entries())

    def _checked_entries(self) -> Iterator[FileEntry]:
        with self._explaining():
            yield from self._entries()
        if self._expected is not None:
            self._expected.finish()

    def _explaining(self) -> contextlib.AbstractContextManager[None]:
        return self._expected.explaining() if self._expected else contextlib.nullcontext()

    def _entries(self) -> Iterator[FileEntry]:
        files = size = corrupt = 0
        for document in self._lines:
            if self.trailer is not None:
                raise FormatProblem(f"{self._name}: something follows the trailer")
            if "trailer" in document:
                self.trailer = checked(self._name, _trailer, document)
                continue
            entry = checked(self._name, _entry, document, self.header)
            files += 1
            size += entry.size
            corrupt += entry.corrupt
            yield entry
        if self.trailer != NodeManifestTrailer(files, size, corrupt):
            raise FormatProblem(
                f"{self._name}: has {files} files of {size} bytes, its trailer says {self.trailer}"
            )

    def _header(self) -> NodeManifestHeader:
        document = next(self._lines, None)
        if document is None:
            raise FormatProblem(f"{self._name}: is empty")
        check_format(document, self._name)
        return checked(self._name, _header, document)


def _expected(chunks: Iterable[bytes], expected: StoredObject | None) -> ExpectedChunks | None:
    if expected is None:
        return None
    host_id = expected.name.rpartition("/")[2].partition(".")[0]
    return ExpectedChunks(chunks, expected, f"the node manifest of {host_id} has", "it was")


def _header(document: Mapping[str, Any]) -> NodeManifestHeader:
    data = dict(document)
    del data["format"]
    check_uuid(data["host_id"], "node")
    check_uuid(data["backup_id"], "backup")
    tokens = tuple(int(t) for t in texts(data.pop("tokens")))
    directories = texts(data.pop("data_directories"))
    texts(list(data.values()))
    return NodeManifestHeader(**data, tokens=tokens, data_directories=directories)


def _trailer(document: Mapping[str, Any]) -> NodeManifestTrailer:
    return NodeManifestTrailer(**document["trailer"])


def _entry(data: Mapping[str, Any], header: NodeManifestHeader) -> FileEntry:
    index = data["index"]
    entry = FileEntry(
        keyspace=check_name(data["keyspace"], "keyspace"),
        table=check_name(data["table"], "table"),
        table_id=_hexadecimal(data["table_id"], 32),
        index=None if index is None else _plain_name(index),
        data_directory=number(data["data_directory"]),
        name=_plain_name(data["name"]),
        size=number(data["size"]),
        mtime_ns=number(data["mtime_ns"], least=-(1 << 63)),
        sha256=check_sha256(data["sha256"]),
        crc32=None if data["crc32"] is None else number(data["crc32"]),
        extents=tuple(
            Extent(check_sha256(pack), number(offset), number(length))
            for pack, offset, length in data["extents"]
        ),
        corrupt=bool(data.get("corrupt", False)),
    )
    if entry.data_directory >= len(header.data_directories):
        raise ValueError(f"data directory {entry.data_directory} of {entry.name}")
    if sum(e.length for e in entry.extents) != entry.size:
        raise ValueError(f"the extents of {entry.name} are not its {entry.size} bytes")
    return entry


def _hexadecimal(value: Any, digits: int) -> str:
    if not isinstance(value, str) or len(value) != digits or set(value) - set("0123456789abcdef"):
        raise ValueError(f"{value!r} is not {digits} hexadecimal digits")
    return value


def _plain_name(value: Any) -> str:
    if (
        not isinstance(value, str)
        or value in ("", ".", "..")
        or len(value.encode()) > 255
        or any(c == "/" or ord(c) < 32 for c in value)
    ):
        raise ValueError(f"{value!r} is not a plain file name")
    return value


def backup_manifest_bytes(manifest: BackupManifest) -> bytes:
    """Return the stored form of a backup manifest."""
    return json.dumps(manifest.as_json(), indent=1, sort_keys=True).encode() + b"\n"


def parse_backup_manifest(text: bytes, name: str) -> BackupManifest:
    """Read a stored backup manifest; FormatProblem if it is not one."""
    document = read_document(text, name)
    check_format(document, name)
    _check_features(document, name)
    try:
        del document["format"]
        manifest = BackupManifest(
            **{
                **document,
                "schema": StoredObject(**document["schema"]),
                "nodes": tuple(NodeShare.from_json(n) for n in document["nodes"]),
                "missing_nodes": texts(document["missing_nodes"]),
                "missing_ring": tuple(
                    MissingNode.from_json(n) for n in document.get("missing_ring", [])
                ),
                "figures": _stored_list(document.get("figures", [])),
                "data_centers": texts(document.get("data_centers", [])),
                "other_nodes": tuple(
                    MissingNode.from_json(n) for n in document.get("other_nodes", [])
                ),
            }
        )
        for node in manifest.nodes:
            _check_share(node)
        _check_backup(manifest)
    except (
        KeyError, TypeError, ValueError, AttributeError, ArithmeticError, BackupError,
    ) as error:  # fmt: skip
        raise FormatProblem(f"{name}: malformed backup manifest ({error})") from None
    return manifest


def _check_features(document: dict[str, Any], name: str) -> None:
    """Take the features out of a backup manifest.

    :raises FormatProblem: for one that this version does not know.
    """
    features = document.pop("features", [])
    if not isinstance(features, list):
        raise FormatProblem(f"{name}: malformed backup manifest (features: {features!r})")
    if unknown := [feature for feature in features if feature not in FEATURES]:
        raise FormatProblem(
            f"{name}: has features that this version does not know "
            f"({', '.join(map(str, unknown))}); use a newer version of magnetodb-backup"
        )


def _check_backup(manifest: BackupManifest) -> None:
    check_uuid(manifest.backup_id, "backup")
    texts([manifest.name, manifest.cluster, manifest.status, manifest.schema_version])
    texts([manifest.partitioner])
    check_backup_name(manifest.name)
    if manifest.status not in (BackupStatus.CREATED, BackupStatus.PARTIAL):
        raise ValueError(f"{manifest.status!r} is not a status of a stored backup")
    for time in (manifest.created_at, manifest.committed_at):
        parsed = datetime.fromisoformat(time)
        parsed.astimezone(timezone.utc)  # raises for the first and the last years
        if parsed.tzinfo is None:
            raise ValueError(f"{time!r} has no time zone")
    if not isinstance(manifest.scope, dict) or not isinstance(manifest.coverage, dict):
        raise ValueError("scope and coverage must be objects")
    Selection.from_json(manifest.selection)
    check_sha256(manifest.schema.sha256)
    number(manifest.schema.size)
    number(manifest.skew_ms, least=-(1 << 63))
    for node in (*manifest.missing_ring, *manifest.other_nodes):
        texts([node.host_id, node.dc, node.rack])
    if not all(isinstance(found, dict) for found in manifest.coverage.values()):
        raise ValueError("the coverage of a keyspace must be an object")
    if manifest.data_centers and {n.dc for n in manifest.nodes} - set(manifest.data_centers):
        raise ValueError("a node is of another data centre than the backup")
    _check_fingerprints(manifest)
    number(sum(node.files for node in manifest.nodes))
    number(sum(node.bytes for node in manifest.nodes))
    if len({node.host_id for node in manifest.nodes}) != len(manifest.nodes):
        raise ValueError("a node is named twice")


def _stored_list(values: Any) -> tuple[StoredObject, ...]:
    if not isinstance(values, list):
        raise ValueError(f"{values!r} is not a list of objects")
    return tuple(StoredObject(**v) for v in values)


def _check_fingerprints(manifest: BackupManifest) -> None:
    for stored in manifest.figures:
        check_fingerprints_name(manifest.backup_id, stored.name)
        check_sha256(stored.sha256)
        number(stored.size)
    if len({stored.name for stored in manifest.figures}) != len(manifest.figures):
        raise ValueError("fingerprints are named twice")


def _check_share(node: NodeShare) -> None:
    check_uuid(node.host_id, "node")
    check_sha256(node.manifest.sha256)
    texts([node.address, node.dc, node.rack, node.version])
    texts([node.snapshot_started_at, node.snapshot_finished_at])
    for count in (node.manifest.size, node.files, node.bytes, node.corrupt_files):
        number(count)
