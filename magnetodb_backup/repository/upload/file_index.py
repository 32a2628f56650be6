# SPDX-License-Identifier: Apache-2.0
"""The worker's index of stored files: file identity → content → extents.

It only saves work: without it, files are hashed again, and nothing is uploaded twice.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import os
import sqlite3
import threading
import time
from collections.abc import Iterable, Iterator
from dataclasses import astuple, dataclass
from pathlib import Path

from magnetodb_backup.domain.backup.manifest import Extent, SnapshotFile
from magnetodb_backup.repository.format.moves import Move

LOG = logging.getLogger(__name__)
_VERSION = 2
_BATCH = 500
_PACKS = """
CREATE TABLE packs (sha256 TEXT PRIMARY KEY, size INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE contents (sha256 TEXT PRIMARY KEY, size INTEGER NOT NULL, extents TEXT NOT NULL)
    WITHOUT ROWID;
CREATE INDEX contents_size ON contents (size);
"""
_IDENTITIES = """
CREATE TABLE identities (
    place INTEGER, inode INTEGER, size INTEGER, mtime_ns INTEGER,
    sha256 TEXT NOT NULL, crc32 INTEGER, corrupt INTEGER NOT NULL, used INTEGER NOT NULL,
    PRIMARY KEY (place, inode, size, mtime_ns)) WITHOUT ROWID;
"""
# Packs whose loss was reported, also if they are stored again since.
_REPORTED = "CREATE TABLE reported_losses (sha256 TEXT PRIMARY KEY) WITHOUT ROWID"
# The backups whose manifest of this node was stored, or begun to be. Older releases ignore it.
_MANIFESTS = """
CREATE TABLE IF NOT EXISTS manifests (backup_id TEXT PRIMARY KEY) WITHOUT ROWID
"""
_GONE = "CREATE TEMP TABLE IF NOT EXISTS gone (sha256 TEXT PRIMARY KEY) WITHOUT ROWID"
_MOVES = """
CREATE TEMP TABLE IF NOT EXISTS moves (pack TEXT, start INTEGER, length INTEGER, to_pack TEXT,
    to_start INTEGER, PRIMARY KEY (pack, start, length)) WITHOUT ROWID
"""
_MOVED = """
SELECT sha256, extents FROM contents WHERE sha256 > ? AND EXISTS (
    SELECT 1 FROM json_each(contents.extents) AS extent
    WHERE json_extract(extent.value, '$[0]') IN (SELECT pack FROM moves))
    ORDER BY sha256 LIMIT ?
"""
_FORGET_GONE = (
    "DELETE FROM packs WHERE sha256 IN (SELECT sha256 FROM gone)",
    "DELETE FROM reported_losses WHERE sha256 IN (SELECT sha256 FROM gone)",
    """
    DELETE FROM contents WHERE EXISTS (
        SELECT 1 FROM json_each(contents.extents) AS extent
        WHERE json_extract(extent.value, '$[0]') IN (SELECT sha256 FROM gone))
    """,
    "DELETE FROM identities WHERE sha256 NOT IN (SELECT sha256 FROM contents)",
    "DELETE FROM gone",
)
# Version 1 had the number of the device instead of the place. Its identities are taken over when
# their files are met, so that an upgrade reads nothing again.
_OLDER = "ALTER TABLE identities RENAME TO identities_by_device"
_LOST_THEN = "INSERT INTO reported_losses SELECT sha256 FROM packs WHERE size = 0"
_KNOWN = """
SELECT i.sha256, i.crc32, i.corrupt, c.extents
    FROM identities i JOIN contents c ON c.sha256 = i.sha256
    WHERE i.place = ? AND i.inode = ? AND i.size = ? AND i.mtime_ns = ?
"""
_USE = "UPDATE identities SET used = ? WHERE place = ? AND inode = ? AND size = ? AND mtime_ns = ?"
_TAKE_OVER = """
INSERT OR IGNORE INTO identities
    SELECT ?, inode, size, mtime_ns, sha256, crc32, corrupt, used FROM identities_by_device
    WHERE device = ? AND inode = ? AND size = ? AND mtime_ns = ?
"""
_TAKEN_OVER = """
DELETE FROM identities_by_device WHERE device = ? AND inode = ? AND size = ? AND mtime_ns = ?
"""


@dataclass(frozen=True)
class Known:
    """The known content of a file."""

    sha256: str
    crc32: int | None
    corrupt: bool
    extents: tuple[Extent, ...]


class FileIndex:
    """An SQLite file; an unusable one is renamed and replaced by an empty one. Thread-safe."""

    def __init__(self, path: Path) -> None:
        self._lock = threading.Lock()
        self._changes, self._held = 0, False
        self._now = int(time.time())
        try:
            self._db = self._open(path)
        except sqlite3.DatabaseError as error:
            aside = path.with_suffix(".unusable")
            LOG.warning("index %s is unusable (%s); moved to %s", path, error, aside)
            path.replace(aside)
            for suffix in ("-wal", "-shm"):
                Path(f"{path}{suffix}").unlink(missing_ok=True)
            self._db = self._open(path)

    def _open(self, path: Path) -> sqlite3.Connection:
        path.touch(mode=0o600)
        db = sqlite3.connect(path, check_same_thread=False)
        try:
            db.execute("PRAGMA journal_mode = WAL")
            db.execute("PRAGMA synchronous = NORMAL")
            (version,) = db.execute("PRAGMA user_version").fetchone()
            if version in (0, 1):
                older = _OLDER if version else _PACKS
                db.executescript(f"BEGIN; {older}; {_IDENTITIES}; {_REPORTED}; {_LOST_THEN}")
                db.execute(f"PRAGMA user_version = {_VERSION}")
                db.commit()
            elif version != _VERSION:
                raise sqlite3.DatabaseError(f"version {version}, {_VERSION} is needed")
            db.execute(_MANIFESTS)
            (verdict,) = db.execute("PRAGMA quick_check(1)").fetchone()
            if verdict != "ok":
                raise sqlite3.DatabaseError(verdict)
            found = db.execute("SELECT 1 FROM sqlite_master WHERE name = 'identities_by_device'")
            self._has_older = found.fetchone() is not None
        except BaseException:
            db.close()
            raise
        return db

    def close(self) -> None:
        """Write pending changes and close."""
        with self._lock:
            self._db.commit()
            self._db.close()

    def is_empty(self) -> bool:
        """Return whether no content is known."""
        with self._lock:
            return self._db.execute("SELECT 1 FROM contents LIMIT 1").fetchone() is None

    def by_identity(self, file: SnapshotFile) -> Known | None:
        """Return the known content of exactly this file: place, inode, size and mtime.

        Files whose mtime is a whole second are never matched: tar and other programs set such
        times, so another file of this size and time may have the inode of a removed one.
        """
        if file.mtime_ns % 1_000_000_000 == 0:
            return None
        key = _key(file)
        with self._lock:
            if self._has_older:
                self._take_over(file, key)
            row = self._db.execute(_KNOWN, key).fetchone()
            if row is None:
                return None
            self._write(_USE, (self._now, *key))
        return Known(row[0], row[1], bool(row[2]), _extents(row[3]))

    def _take_over(self, file: SnapshotFile, key: tuple[int, ...]) -> None:
        """Move what is known of the file by its device to its place."""
        older = (file.device, *key[1:])
        self._write(_TAKE_OVER, (key[0], *older))
        self._write(_TAKEN_OVER, older)

    def has_size(self, size: int) -> bool:
        """Return whether some known content has this size in bytes."""
        with self._lock:
            query = "SELECT 1 FROM contents WHERE size = ? LIMIT 1"
            return self._db.execute(query, (size,)).fetchone() is not None

    def by_content(self, sha256: str) -> tuple[Extent, ...] | None:
        """Return the extents of the content with this SHA-256; None if unknown."""
        with self._lock:
            query = "SELECT extents FROM contents WHERE sha256 = ?"
            row = self._db.execute(query, (sha256,)).fetchone()
        return _extents(row[0]) if row else None

    def pack_size(self, sha256: str) -> int | None:
        """Return the size in bytes that a pack had when it was stored; None if unknown.

        0 if it is known to be lost.
        """
        with self._lock:
            query = "SELECT size FROM packs WHERE sha256 = ?"
            row = self._db.execute(query, (sha256,)).fetchone()
        return int(row[0]) if row else None

    def pack_sizes(self) -> dict[str, int]:
        """Return the size of every recorded pack that is not known to be lost, by SHA-256."""
        with self._lock:
            return dict(self._db.execute("SELECT sha256, size FROM packs WHERE size > 0"))

    def mark_lost(self, packs: Iterable[str]) -> None:
        """Remember packs as lost, so that their loss is reported once."""
        with self._lock:
            for pack in packs:
                self._write("INSERT OR REPLACE INTO packs VALUES (?, 0)", (pack,))
                self._write("INSERT OR IGNORE INTO reported_losses VALUES (?)", (pack,))

    def lost_packs(self) -> frozenset[str]:
        """Return the packs that are known to be lost."""
        with self._lock:
            found = self._db.execute("SELECT sha256 FROM packs WHERE size = 0")
            return frozenset(sha256 for (sha256,) in found)

    def healed_packs(self) -> frozenset[str]:
        """Return the packs whose loss was reported and that are stored by now."""
        query = "SELECT sha256 FROM reported_losses JOIN packs USING (sha256) WHERE size > 0"
        with self._lock:
            return frozenset(sha256 for (sha256,) in self._db.execute(query))

    def forget_healed(self, packs: Iterable[str]) -> None:
        """Forget that the loss of packs was reported, once it is reported that they are stored."""
        with self._lock:
            for pack in packs:
                self._write("DELETE FROM reported_losses WHERE sha256 = ?", (pack,))

    def learn_pack(self, sha256: str, size: int) -> None:
        """Record a stored pack."""
        with self._lock:
            self._write("INSERT OR REPLACE INTO packs VALUES (?, ?)", (sha256, size))

    def learn_manifest(self, backup_id: str) -> None:
        """Record durably that this node's manifest of a backup is about to be stored."""
        with self._lock:
            self._write("INSERT OR IGNORE INTO manifests VALUES (?)", (backup_id,))
            self._db.commit()

    def manifests(self) -> frozenset[str]:
        """Return the IDs of the backups of which this node has stored a manifest."""
        with self._lock:
            found = self._db.execute("SELECT backup_id FROM manifests")
            return frozenset(backup_id for (backup_id,) in found)

    def forget_manifest(self, backup_id: str) -> None:
        """Forget a backup whose manifest the store does not have any more."""
        with self._lock:
            self._write("DELETE FROM manifests WHERE backup_id = ?", (backup_id,))

    def recorded_packs(self) -> Iterator[str]:
        """Yield all recorded packs, also those known to be lost; changes meanwhile are allowed."""
        last = ""
        while True:
            with self._lock:
                query = "SELECT sha256 FROM packs WHERE sha256 > ? ORDER BY sha256 LIMIT ?"
                found = [sha256 for (sha256,) in self._db.execute(query, (last, _BATCH))]
            if not found:
                return
            yield from found
            last = found[-1]

    def forget_packs(self, packs: Iterable[str]) -> int:
        """Forget packs, and all that is known of contents in them; return their number.

        It is committed at once, so that a pack can be deleted afterwards. The file shrinks if a
        quarter of it is free then.
        """
        with self._lock:
            self._db.execute(_GONE)
            self._db.execute("DELETE FROM gone")
            self._db.executemany("INSERT OR IGNORE INTO gone VALUES (?)", ((p,) for p in packs))
            (count,) = self._db.execute("SELECT COUNT(*) FROM gone").fetchone()
            if count:
                for statement in _FORGET_GONE:
                    self._db.execute(statement)
            self._db.commit()
            self._shrink()
        return int(count)

    def _shrink(self) -> None:
        (pages,) = self._db.execute("PRAGMA page_count").fetchone()
        (free,) = self._db.execute("PRAGMA freelist_count").fetchone()
        if free * 4 > pages:
            self._db.execute("VACUUM")

    def learn_content(self, sha256: str, size: int, extents: tuple[Extent, ...]) -> None:
        """Record the extents of a content; they replace earlier ones."""
        text = json.dumps([[e.pack, e.offset, e.length] for e in extents])
        with self._lock:
            self._write("INSERT OR REPLACE INTO contents VALUES (?, ?, ?)", (sha256, size, text))

    def move(self, moves: Iterable[Move]) -> None:
        """Let the contents have the extents to which their bytes were moved; durable on return."""
        with self._lock:
            self._db.execute(_MOVES)
            self._db.execute("DELETE FROM moves")
            rows = ((*astuple(m.named), m.now.pack, m.now.offset) for m in moves)
            self._db.executemany("INSERT OR REPLACE INTO moves VALUES (?, ?, ?, ?, ?)", rows)
            last = ""
            while found := self._db.execute(_MOVED, (last, _BATCH)).fetchall():
                for sha256, text in found:
                    extents = json.dumps([self._place_of(e) for e in json.loads(text)])
                    query = "UPDATE contents SET extents = ? WHERE sha256 = ?"
                    self._db.execute(query, (extents, sha256))
                last = found[-1][0]
            self._db.execute("DELETE FROM moves")
            self._db.commit()

    def _place_of(self, extent: list[object]) -> list[object]:
        query = """
            SELECT to_pack, to_start FROM moves WHERE pack = ? AND start = ? AND length = ?
        """
        row = self._db.execute(query, extent).fetchone()
        return extent if row is None else [*row, extent[2]]

    def learn_identity(
        self, file: SnapshotFile, sha256: str, crc32: int | None, corrupt: bool
    ) -> None:
        """Record the content of a file."""
        with self._lock:
            self._write(
                "INSERT OR REPLACE INTO identities VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                (*_key(file), sha256, crc32, corrupt, self._now),
            )

    @contextlib.contextmanager
    def all_or_nothing(self) -> Iterator[None]:
        """Keep the records made inside the block only if it raises no error."""
        self._held = True
        try:
            yield
        except BaseException:
            with self._lock:
                self._db.rollback()
            raise
        finally:
            self._held = False
        with self._lock:
            self._db.commit()

    def prune(self, unused_for: int) -> None:
        """Delete identities that no backup has used for ``unused_for`` seconds."""
        with self._lock:
            oldest = (self._now - unused_for,)
            self._write("DELETE FROM identities WHERE used < ?", oldest)
            if self._has_older:
                self._write("DELETE FROM identities_by_device WHERE used < ?", oldest)

    def _write(self, statement: str, values: tuple[object, ...]) -> None:
        self._db.execute(statement, values)
        self._changes += 1
        if self._changes % _BATCH == 0 and not self._held:
            self._db.commit()


def _key(file: SnapshotFile) -> tuple[int, int, int, int]:
    """Return place, inode, size and mtime; the place as a number of 63 bits."""
    place = hashlib.blake2b(os.fsencode(file.place), digest_size=8).digest()
    return int.from_bytes(place) >> 1, file.inode, file.size, file.mtime_ns


def _extents(text: str) -> tuple[Extent, ...]:
    return tuple(Extent(*e) for e in json.loads(text))
