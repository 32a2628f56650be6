# SPDX-License-Identifier: Apache-2.0
"""Node manifests as a stream of JSON lines, and the backup manifest as one document."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict
from typing import Any, BinaryIO

import zstandard

from magnetodb_backup.domain.manifest import (
    FORMAT,
    BackupManifest,
    Extent,
    FileEntry,
    NodeManifestHeader,
    NodeManifestTrailer,
    NodeShare,
    StoredObject,
)
from magnetodb_backup.domain.tables import check_name
from magnetodb_backup.errors import BackupError, FormatProblem
from magnetodb_backup.repository.layout import check_sha256, check_uuid

_LONGEST_LINE = 16 * 1024 * 1024
_PIECE = 64 * 1024


class NodeManifestWriter:
    """Writes header, entries and trailer, compressed, into ``file``."""

    def __init__(self, file: BinaryIO, header: NodeManifestHeader) -> None:
        self._stream = zstandard.ZstdCompressor(level=3).stream_writer(file, closefd=False)
        self.files = self.bytes = self.corrupt_files = 0
        self._line(header.as_json())

    def add(self, entry: FileEntry) -> None:
        """Write one file's line."""
        self._line(entry.as_json())
        self.files += 1
        self.bytes += entry.size
        self.corrupt_files += entry.corrupt

    def finish(self) -> NodeManifestTrailer:
        """Write the trailer; nothing may follow."""
        trailer = NodeManifestTrailer(self.files, self.bytes, self.corrupt_files)
        self._line({"trailer": asdict(trailer)})
        self._stream.flush(zstandard.FLUSH_FRAME)
        return trailer

    def _line(self, document: Mapping[str, Any]) -> None:
        self._stream.write(json.dumps(document, separators=(",", ":")).encode() + b"\n")


class NodeManifestReader:
    """Reads a node manifest; iterate once for its entries, each checked.

    :raises FormatProblem: at any deviation from the format, at the end if it is cut.
    """

    def __init__(self, chunks: Iterable[bytes], name: str) -> None:
        self._name = name
        self._lines = _lines(chunks, name)
        self.header = self._header()
        self.trailer: NodeManifestTrailer | None = None

    def __iter__(self) -> Iterator[FileEntry]:
        files = size = corrupt = 0
        for document in self._lines:
            if self.trailer is not None:
                raise FormatProblem(f"{self._name}: something follows the trailer")
            if "trailer" in document:
                self.trailer = self._checked(lambda d=document: NodeManifestTrailer(**d["trailer"]))
                continue
            entry = self._checked(lambda d=document: self._entry(d))
            files += 1
            size += entry.size
            corrupt += entry.corrupt
            yield entry
        if self.trailer != NodeManifestTrailer(files, size, corrupt):
            raise FormatProblem(
                f"{self._name}: has {files} files of {size} bytes, its trailer says {self.trailer}"
            )

    def _checked(self, make: Any) -> Any:
        try:
            return make()
        except BackupError as error:
            raise FormatProblem(f"{self._name}: {error}") from None
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise FormatProblem(f"{self._name}: malformed line ({error!r})") from None

    def _header(self) -> NodeManifestHeader:
        document = next(self._lines, None)
        if document is None:
            raise FormatProblem(f"{self._name}: is empty")
        check_format(document, self._name)

        def make() -> NodeManifestHeader:
            data = dict(document)
            del data["format"]
            check_uuid(data["host_id"], "node")
            check_uuid(data["backup_id"], "backup")
            data["tokens"] = tuple(int(t) for t in data["tokens"])
            data["data_directories"] = tuple(str(d) for d in data["data_directories"])
            return NodeManifestHeader(**data)

        header: NodeManifestHeader = self._checked(make)
        return header

    def _entry(self, data: Mapping[str, Any]) -> FileEntry:
        index = data["index"]
        entry = FileEntry(
            keyspace=check_name(data["keyspace"], "keyspace"),
            table=check_name(data["table"], "table"),
            table_id=_hexadecimal(data["table_id"], 32),
            index=None if index is None else _plain_name(index),
            data_directory=_number(data["data_directory"]),
            name=_plain_name(data["name"]),
            size=_number(data["size"]),
            mtime_ns=_number(data["mtime_ns"]),
            sha256=check_sha256(data["sha256"]),
            crc32=None if data["crc32"] is None else _number(data["crc32"]),
            extents=tuple(
                Extent(check_sha256(pack), _number(offset), _number(length))
                for pack, offset, length in data["extents"]
            ),
            corrupt=bool(data.get("corrupt", False)),
        )
        if entry.data_directory >= len(self.header.data_directories):
            raise ValueError(f"data directory {entry.data_directory} of {entry.name}")
        if sum(e.length for e in entry.extents) != entry.size:
            raise ValueError(f"the extents of {entry.name} are not its {entry.size} bytes")
        return entry


def _lines(chunks: Iterable[bytes], name: str) -> Iterator[dict[str, Any]]:
    decompressor = zstandard.ZstdDecompressor(max_window_size=1 << 27).decompressobj()
    rest = b""
    try:
        for chunk in chunks:
            for begin in range(0, len(chunk), _PIECE):
                rest += decompressor.decompress(chunk[begin : begin + _PIECE])
                *whole, rest = rest.split(b"\n")
                if len(rest) > _LONGEST_LINE:
                    raise FormatProblem(f"{name}: a line is longer than {_LONGEST_LINE} bytes")
                for line in whole:
                    yield _document(line, name)
    except zstandard.ZstdError as error:
        raise FormatProblem(f"{name}: is not Zstandard data ({error})") from None
    if rest or not decompressor.eof:
        raise FormatProblem(f"{name}: is cut off")


def _document(text: bytes, name: str) -> dict[str, Any]:
    try:
        document = json.loads(text)
    except ValueError as error:
        raise FormatProblem(f"{name}: is not JSON ({error})") from None
    if not isinstance(document, dict):
        raise FormatProblem(f"{name}: is not a JSON object")
    return document


def check_format(document: Mapping[str, Any], name: str) -> None:
    """Refuse a format version other than ours."""
    if document.get("format") != FORMAT:
        raise FormatProblem(
            f"{name}: has format version {document.get('format')!r}, this version knows {FORMAT}; "
            "use the version of magnetodb-backup that wrote it, or a newer one"
        )


def _number(value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < 1 << 63:
        raise ValueError(f"{value!r} is not a number from 0 to 2^63-1")
    return value


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
    """Return the backup manifest as it is stored."""
    return json.dumps(manifest.as_json(), indent=1, sort_keys=True).encode() + b"\n"


def parse_backup_manifest(text: bytes, name: str) -> BackupManifest:
    """Read a stored backup manifest; FormatProblem if it is not one."""
    document = _document(text, name)
    check_format(document, name)
    try:
        del document["format"]
        manifest = BackupManifest(
            **{
                **document,
                "schema": StoredObject(**document["schema"]),
                "nodes": tuple(NodeShare.from_json(n) for n in document["nodes"]),
                "missing_nodes": tuple(document["missing_nodes"]),
            }
        )
        check_uuid(manifest.backup_id, "backup")
        for node in manifest.nodes:
            check_uuid(node.host_id, "node")
            check_sha256(node.manifest.sha256)
    except (KeyError, TypeError, ValueError, BackupError) as error:
        raise FormatProblem(f"{name}: malformed backup manifest ({error})") from None
    return manifest
