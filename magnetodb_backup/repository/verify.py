# SPDX-License-Identifier: Apache-2.0
"""Verifies that the bytes of a backup are in the store."""

from __future__ import annotations

import hashlib
import sqlite3
from collections import defaultdict
from collections.abc import Callable, Iterator

from magnetodb_backup.domain.backup.manifest import (
    BackupManifest,
    Extent,
    FileEntry,
    NodeShare,
)
from magnetodb_backup.domain.tables import TableName
from magnetodb_backup.errors import CorruptObject, FormatProblem, NotFound
from magnetodb_backup.repository.cluster import ClusterRepository
from magnetodb_backup.repository.findings import Findings, Problem, VerificationReport
from magnetodb_backup.repository.node import NodeRepository

_NAMED, _PROBLEMS_WITH_NAMES = 20, 200  # affected files; they are not all stored


class _Extents:
    """A node backup's extents by pack, in a temporary database: memory stays bounded."""

    def __init__(self) -> None:
        self._db = sqlite3.connect("")
        self._db.execute(
            "CREATE TABLE extents "
            "(pack TEXT, start INTEGER, length INTEGER, file INTEGER, part INTEGER)"
        )
        self._db.execute(
            "CREATE TABLE files (number INTEGER PRIMARY KEY, path TEXT, sha256 TEXT, "
            "keyspace TEXT, name TEXT)"
        )

    def add(self, number: int, path: str, entry: FileEntry) -> None:
        self._db.execute(
            "INSERT INTO files VALUES (?, ?, ?, ?, ?)",
            (number, path, entry.sha256, entry.keyspace, entry.table),
        )
        self._db.executemany(
            "INSERT INTO extents VALUES (?, ?, ?, ?, ?)",
            ((e.pack, e.offset, e.length, number, part) for part, e in enumerate(entry.extents)),
        )

    def packs(self) -> list[tuple[str, int]]:
        """Return each pack and its least size in bytes."""
        self._db.execute("CREATE INDEX IF NOT EXISTS by_pack ON extents (pack)")
        self._db.execute("CREATE INDEX IF NOT EXISTS by_file ON extents (file)")
        query = "SELECT pack, MAX(start + length) FROM extents GROUP BY pack ORDER BY pack"
        return self._db.execute(query).fetchall()

    def affected(self, pack: str) -> tuple[tuple[str, ...], int]:
        query = (
            "SELECT DISTINCT path FROM extents JOIN files ON number = file "
            "WHERE pack = ? ORDER BY path"
        )
        paths = [row[0] for row in self._db.execute(query, (pack,))]
        return tuple(paths[:_NAMED]), len(paths)

    def tables_in(self, pack: str) -> list[TableName]:
        """Return the tables that have files in a pack."""
        query = (
            "SELECT DISTINCT keyspace, name FROM extents JOIN files ON number = file WHERE pack = ?"
        )
        return [TableName(*row) for row in self._db.execute(query, (pack,))]

    def whole_in(self, pack: str) -> Iterator[tuple[str, str, int, int]]:
        """Yield path, digest, offset and length of the files stored in this pack alone."""
        query = (
            "SELECT path, sha256, start, length FROM extents e JOIN files ON number = file "
            "WHERE pack = ? AND (SELECT COUNT(*) FROM extents o WHERE o.file = e.file) = 1"
        )
        yield from self._db.execute(query, (pack,))

    def spanned(self) -> Iterator[tuple[str, str, list[Extent]]]:
        """Yield path, digest and extents of the files stored in several packs."""
        numbers = self._db.execute(
            "SELECT file FROM extents GROUP BY file HAVING COUNT(*) > 1"
        ).fetchall()
        for (number,) in numbers:
            path, sha256 = self._db.execute(
                "SELECT path, sha256 FROM files WHERE number = ?", (number,)
            ).fetchone()
            rows = self._db.execute(
                "SELECT pack, start, length FROM extents WHERE file = ? ORDER BY part", (number,)
            )
            yield path, sha256, [Extent(*row) for row in rows]

    def close(self) -> None:
        self._db.close()


class _NodeCheck:
    def __init__(
        self,
        repository: NodeRepository,
        share: NodeShare,
        *,
        read_data: bool,
        raise_if_cancelled: Callable[[], None],
    ) -> None:
        self._repository, self._share = repository, share
        self._read_data, self._raise_if_cancelled = read_data, raise_if_cancelled
        self.files = self.bytes = self.packs = self.bytes_read = 0
        self.problems: list[Problem] = []
        self.tables: dict[TableName, str] = {}

    def run(self, cluster: ClusterRepository, backup_id: str) -> None:
        extents = _Extents()
        try:
            if self._manifest(cluster, backup_id, extents):
                self._packs(extents)
        finally:
            extents.close()

    def _problem(self, kind: str, detail: str, pack: str = "", *, of: _Extents | None) -> None:
        files, count = of.affected(pack) if of is not None else ((), 0)
        for table in of.tables_in(pack) if of is not None else ():
            self._of_table(table, f"{kind} pack {pack}: {detail}")
        if len(self.problems) >= _PROBLEMS_WITH_NAMES:
            files = ()
        self.problems.append(Problem(self._share.host_id, kind, pack, detail, files, count))

    def _of_table(self, table: TableName, detail: str) -> None:
        self.tables.setdefault(table, f"node {self._share.address}: {detail}")

    def _content(self, path: str, pack: str) -> None:
        """Note a file whose bytes are not those of the backup."""
        keyspace, table, *_ = path.split("/")
        detail = f"{path} does not match the node manifest"
        self._of_table(TableName(keyspace, table), detail)
        self._problem("content", detail, pack, of=None)

    def _manifest(self, cluster: ClusterRepository, backup_id: str, extents: _Extents) -> bool:
        try:
            found = cluster.digest_node_manifest(backup_id, self._share.host_id)
            if found != self._share.manifest:
                self._problem(
                    "manifest", f"{found.name} does not match the backup manifest", of=None
                )
                return False
            for entry in cluster.node_manifest(backup_id, self._share.host_id):
                path = "/".join(
                    p for p in (entry.keyspace, entry.table, entry.index, entry.name) if p
                )
                extents.add(self.files, path, entry)
                self.files += 1
                self.bytes += entry.size
        except (FormatProblem, NotFound) as error:
            self._problem("manifest", str(error), of=None)
            return False
        return True

    def _packs(self, extents: _Extents) -> None:
        packs = extents.packs()
        self.packs = len(packs)
        if not self._read_data:
            sizes = self._repository.pack_sizes((p for p, _ in packs), self._raise_if_cancelled)
            for (pack, least), (_, size) in zip(packs, sizes, strict=True):
                self._is_whole(pack, least, size, extents)
            return
        damaged = set()
        for pack, least in packs:
            self._raise_if_cancelled()
            if not self._read_pack(pack, least, extents):
                damaged.add(pack)
        for path, sha256, parts in extents.spanned():
            if not damaged & {e.pack for e in parts}:
                self._read_spanned(path, sha256, parts)

    def _is_whole(self, pack: str, least: int, size: int | None, extents: _Extents) -> bool:
        if size is None:
            self._problem("missing", "the pack is not in the store", pack, of=extents)
        elif size < least:
            detail = f"the pack has {size} bytes, at least {least} are needed"
            self._problem("size", detail, pack, of=extents)
        return size is not None and size >= least

    def _read_pack(self, pack: str, least: int, extents: _Extents) -> bool:
        try:
            body = b"".join(self._repository.read_pack(pack))
        except NotFound:
            return self._is_whole(pack, least, None, extents)
        self.bytes_read += len(body)
        if not self._is_whole(pack, least, len(body), extents):
            return False
        digest = hashlib.sha256(body).hexdigest()
        if digest != pack:
            detail = f"the pack's bytes have SHA-256 {digest}"
            self._problem("corrupt", detail, pack, of=extents)
            return False
        view = memoryview(body)
        for path, sha256, start, length in extents.whole_in(pack):
            if hashlib.sha256(view[start : start + length]).hexdigest() != sha256:
                self._content(path, pack)
        return True

    def _read_spanned(self, path: str, sha256: str, parts: list[Extent]) -> None:
        digest = hashlib.sha256()
        for part in parts:
            self._raise_if_cancelled()
            for piece in self._repository.read_pack(part.pack, part.offset, part.length):
                digest.update(piece)
                self.bytes_read += len(piece)
        if digest.hexdigest() != sha256:
            self._content(path, "")


def _schema_problems(cluster: ClusterRepository, manifest: BackupManifest) -> list[Problem]:
    try:
        found = cluster.digest_schema(manifest.backup_id)
    except NotFound as error:
        return [Problem("", "schema", "", str(error))]
    if found == manifest.schema:
        return _schema_rows_problems(cluster, manifest)
    return [Problem("", "schema", "", f"{found.name} does not match the backup manifest")]


def _schema_rows_problems(cluster: ClusterRepository, manifest: BackupManifest) -> list[Problem]:
    """Return what is wrong with the rows beside the text, which a restore can do without."""
    try:
        cluster.check_schema_rows(manifest.backup_id)
    except FormatProblem as error:
        return [Problem("", "schema_rows", "", str(error))]
    return []


def _fingerprint_problems(cluster: ClusterRepository, manifest: BackupManifest) -> list[Problem]:
    problems = []
    for stored in manifest.figures:
        try:
            for _ in cluster.fingerprints(manifest.backup_id, stored):
                pass
        except (CorruptObject, FormatProblem, NotFound) as error:
            problems.append(Problem("", "figures", "", str(error)))
    return problems


def verify_backup(
    cluster: ClusterRepository,
    node_repository_of: Callable[[str], NodeRepository],
    backup_id: str,
    *,
    manifest_sha256: str,
    read_data: bool,
    progress: Callable[[int, int], None],
    raise_if_cancelled: Callable[[], None],
) -> VerificationReport:
    """Check that every pack of a backup is stored; with ``read_data`` read back every byte.

    ``manifest_sha256`` is the digest of the backup manifest in the backup's record, empty if it has
    none. ``progress`` is called after each node with the number of checked files and bytes.

    :raises NotFound: if the backup has no manifest.
    """
    found, totals = Findings(), defaultdict[str, int](int)
    try:
        manifest, stored = cluster.read_commit(backup_id)
    except FormatProblem as error:
        found.add([Problem("", "manifest", "", str(error))])
        return found.report(backup_id, read_data, totals)
    if manifest_sha256 not in ("", stored.sha256):
        detail = (
            f"{stored.name} has SHA-256 {stored.sha256}, the record of the backup has "
            f"{manifest_sha256}: another program has written it since"
        )
        found.add([Problem("", "manifest", "", detail)])
    found.add(_schema_problems(cluster, manifest) + _fingerprint_problems(cluster, manifest))
    for share in manifest.nodes:
        check = _NodeCheck(
            node_repository_of(share.host_id),
            share,
            read_data=read_data,
            raise_if_cancelled=raise_if_cancelled,
        )
        check.run(cluster, backup_id)
        for name in ("files", "bytes", "packs", "bytes_read"):
            totals[name] += getattr(check, name)
        found.add(check.problems, check.tables)
        progress(totals["files"], totals["bytes"])
    return found.report(backup_id, read_data, totals)
