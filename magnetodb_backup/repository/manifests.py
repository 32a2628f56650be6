# SPDX-License-Identifier: Apache-2.0
"""Node manifests as a stream of JSON lines, and the backup manifest as one document."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict
from datetime import datetime, timezone
from typing import Any, BinaryIO, ParamSpec, TypeVar

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
from magnetodb_backup.domain.records import check_backup_name
from magnetodb_backup.domain.status import BackupStatus
from magnetodb_backup.domain.tables import Selection, check_name
from magnetodb_backup.errors import BackupError, FormatProblem
from magnetodb_backup.repository.layout import check_sha256, check_uuid

Result = TypeVar("Result")
Arguments = ParamSpec("Arguments")
_LONGEST_LINE = 16 * 1024 * 1024
# Compressed bytes that are expanded at once: at worst, every four of them become 128 KiB.
_PIECE = 1024


class NodeManifestWriter:
    """Writes header, entries and trailer, compressed, into ``file``."""

    def __init__(self, file: BinaryIO, header: NodeManifestHeader) -> None:
        self._stream = zstandard.ZstdCompressor(level=3).stream_writer(file, closefd=False)
        self._header = header
        self.files = self.bytes = self.corrupt_files = 0
        self._line(header.as_json())

    def add(self, entry: FileEntry) -> None:
        """Write one file's line.

        :raises FormatProblem: if a reader would refuse it.
        """
        document = entry.as_json()
        _checked("the node manifest", _entry, document, self._header)
        self._line(document)
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
        line = json.dumps(document, separators=(",", ":")).encode()
        if len(line) > _LONGEST_LINE:
            raise FormatProblem(
                f"the node manifest: the line of {document.get('name')!r} would be longer than "
                f"{_LONGEST_LINE} bytes; set a larger [worker] pack_size"
            )
        self._stream.write(line + b"\n")


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
                self.trailer = _checked(self._name, _trailer, document)
                continue
            entry = _checked(self._name, _entry, document, self.header)
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
        return _checked(self._name, _header, document)


def _checked(
    name: str, make: Callable[Arguments, Result], *args: Arguments.args, **kwargs: Arguments.kwargs
) -> Result:
    try:
        return make(*args, **kwargs)
    except BackupError as error:
        raise FormatProblem(f"{name}: {error}") from None
    except (KeyError, TypeError, ValueError, AttributeError, ArithmeticError) as error:
        raise FormatProblem(f"{name}: malformed line ({error!r})") from None


def _header(document: Mapping[str, Any]) -> NodeManifestHeader:
    data = dict(document)
    del data["format"]
    check_uuid(data["host_id"], "node")
    check_uuid(data["backup_id"], "backup")
    tokens = tuple(int(t) for t in _texts(data.pop("tokens")))
    directories = _texts(data.pop("data_directories"))
    _texts(list(data.values()))
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
        data_directory=_number(data["data_directory"]),
        name=_plain_name(data["name"]),
        size=_number(data["size"]),
        mtime_ns=_number(data["mtime_ns"], least=-(1 << 63)),
        sha256=check_sha256(data["sha256"]),
        crc32=None if data["crc32"] is None else _number(data["crc32"]),
        extents=tuple(
            Extent(check_sha256(pack), _number(offset), _number(length))
            for pack, offset, length in data["extents"]
        ),
        corrupt=bool(data.get("corrupt", False)),
    )
    if entry.data_directory >= len(header.data_directories):
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
                if decompressor.eof:
                    raise FormatProblem(f"{name}: something follows the end")
                rest += decompressor.decompress(chunk[begin : begin + _PIECE])
                if decompressor.unused_data:
                    raise FormatProblem(f"{name}: something follows the end")
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
    except (ValueError, RecursionError) as error:
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


def _number(value: Any, least: int = 0) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not least <= value < 1 << 63:
        raise ValueError(f"{value!r} is not a number from {least} to 2^63-1")
    return value


def _texts(values: Any) -> tuple[str, ...]:
    if not isinstance(values, list) or not all(isinstance(v, str) for v in values):
        raise ValueError(f"{values!r} is not a list of strings")
    return tuple(values)


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
                "missing_nodes": _texts(document["missing_nodes"]),
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


def _check_backup(manifest: BackupManifest) -> None:
    check_uuid(manifest.backup_id, "backup")
    _texts([manifest.name, manifest.cluster, manifest.status, manifest.schema_version])
    check_backup_name(manifest.name)
    if manifest.status not in (BackupStatus.CREATED, BackupStatus.PARTIAL):
        raise ValueError(f"{manifest.status!r} is no status of a stored backup")
    for time in (manifest.created_at, manifest.committed_at):
        parsed = datetime.fromisoformat(time)
        parsed.astimezone(timezone.utc)  # which the first and the last years may not have
        if parsed.tzinfo is None:
            raise ValueError(f"{time!r} has no time zone")
    if not isinstance(manifest.scope, dict) or not isinstance(manifest.coverage, dict):
        raise ValueError("scope and coverage must be objects")
    Selection.from_json(manifest.selection)
    check_sha256(manifest.schema.sha256)
    _number(manifest.schema.size)
    _number(manifest.skew_ms, least=-(1 << 63))
    _number(sum(node.files for node in manifest.nodes))
    _number(sum(node.bytes for node in manifest.nodes))
    if len({node.host_id for node in manifest.nodes}) != len(manifest.nodes):
        raise ValueError("a node is named twice")


def _check_share(node: NodeShare) -> None:
    check_uuid(node.host_id, "node")
    check_sha256(node.manifest.sha256)
    _texts([node.address, node.dc, node.rack, node.version])
    _texts([node.snapshot_started_at, node.snapshot_finished_at])
    for number in (node.manifest.size, node.files, node.bytes, node.corrupt_files):
        _number(number)
