# SPDX-License-Identifier: Apache-2.0
"""A storage driver that keeps objects as files below a directory, which may be shared.

``<path>/<container>/<name>`` is the object. ``<path>/<container>/.md5/<name>`` remembers its MD5
with the file's identity; it is only a cache, rebuilt from the object where they differ.
Unlike in Swift, a name cannot be both an object and a directory of another object.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from oslo_config import cfg
from typing_extensions import override

from magnetodb_backup import disk
from magnetodb_backup.errors import (
    AccessDenied,
    Conflict,
    IncompleteBody,
    InvalidValue,
    NoSpace,
    NotFound,
    ObjectTooShort,
    StorageRefused,
    StorageUnavailable,
)
from magnetodb_backup.storage.body import Body
from magnetodb_backup.storage.driver import ObjectInfo, StorageDriver

MARKER = ".magnetodb-backup"
_SUMS = ".md5"
_PART = ".part-"
_CHUNK = 1024 * 1024
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_DENIED = (errno.EACCES, errno.EPERM, errno.EROFS)
# ENOENT: a deletion removed the emptied directory under a put; the next try makes it again.
_PASSING = (
    errno.EAGAIN,
    errno.EHOSTDOWN,
    errno.EIO,
    errno.ENOENT,
    errno.ENOTCONN,
    errno.ESTALE,
    errno.ETIMEDOUT,
)


def from_conf(conf: cfg.ConfigOpts) -> FilesystemDriver:
    """Make the driver from ``[filesystem]``."""
    return FilesystemDriver(conf.filesystem.path)


@contextlib.contextmanager
def _explained(what: str) -> Iterator[None]:
    """Turn an OSError into the project's errors; ``what`` names the failed operation."""
    try:
        yield
    except OSError as error:
        text = f"{what}: {error.strerror or error}"
        if error.errno in _NO_ROOM:
            raise NoSpace(f"{text}; free or add space, or raise the quota") from error
        if error.errno in _DENIED:
            raise AccessDenied(
                f"{text}; give user ID {os.geteuid()} the right to read and write there"
            ) from error
        if error.errno in _PASSING:
            raise StorageUnavailable(f"{text}; is the file system mounted and healthy?") from error
        raise StorageRefused(text) from error


class FilesystemDriver(StorageDriver):
    """Stores whole files only: temporary file, sync, MD5 check, rename."""

    def __init__(self, path: str | Path) -> None:
        self._root = Path(path)
        if not self._root.is_absolute():
            raise InvalidValue(f"[filesystem] path must be absolute, not {str(path)!r}")

    @override
    def ensure_container(self, container: str) -> None:
        directory = self._container(container)
        with _explained(f"cannot create {directory}"):
            if not self._marker().exists():
                self._initialise()
            if not directory.is_dir():
                directory.mkdir(mode=0o750, exist_ok=True)
                disk.sync_directory(self._root)

    @override
    def containers(self, prefix: str) -> Iterator[str]:
        with _explained(f"cannot list {self._root}"):
            self._need_marker()
            names = sorted(
                entry.name
                for entry in self._root.iterdir()
                if entry.name.startswith(prefix) and entry.name[0] != "." and entry.is_dir()
            )
        yield from names

    @override
    def put(
        self, container: str, name: str, body: bytes | memoryview | BinaryIO, *, size: int, md5: str
    ) -> None:
        target = self._object(container, name)
        source = Body(body, size)
        part = target.with_name(f"{_PART}{os.getpid()}-{secrets.token_hex(8)}")
        with _explained(f"cannot store {target}"):
            self._need_container(container)
            disk.make_directories(target.parent, 0o750)
            try:
                found, stat = self._write(part, source)
                if found != md5:
                    raise IncompleteBody(f"{target}: the body has MD5 {found}, not {md5}")
                self._remember(container, name, found, stat)
                part.rename(target)
            except BaseException:
                with contextlib.suppress(OSError):
                    part.unlink()
                raise
            disk.sync_directory(target.parent)

    @override
    def read(
        self, container: str, name: str, *, offset: int = 0, length: int | None = None
    ) -> Iterator[bytes]:
        path = self._object(container, name)
        with _explained(f"cannot read {path}"):
            self._need_marker()
            try:
                file = path.open("rb", buffering=0)
            except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
                raise NotFound(f"there is no object {name!r} in container {container!r}") from None
        with file:
            size = os.fstat(file.fileno()).st_size
            end = size if length is None else offset + length
            position = offset
            file.seek(offset)
            while position < end:
                with _explained(f"cannot read {path}"):
                    chunk = file.read(min(_CHUNK, end - position))
                if not chunk:
                    break
                position += len(chunk)
                yield chunk
        if position != max(end, offset) or offset > size:
            raise ObjectTooShort(f"{path} has {size} bytes; wanted were {offset} to {end}")

    @override
    def head(self, container: str, name: str) -> ObjectInfo | None:
        path = self._object(container, name)
        with _explained(f"cannot look at {path}"):
            self._need_marker()
            return self._info(container, name)

    @override
    def list(self, container: str, prefix: str = "") -> Iterator[ObjectInfo]:
        directory = self._container(container)
        with _explained(f"cannot list {directory}"):
            self._need_marker()
            names = sorted(n for n in self._names(directory, prefix) if n.startswith(prefix))
        for name in names:
            with _explained(f"cannot list {directory}"):
                info = self._info(container, name)
            if info is not None:  # else it was deleted meanwhile
                yield info

    @override
    def folders(self, container: str, prefix: str) -> Iterator[str]:
        directory = self._container(container)
        above, slash, beginning = prefix.rpartition("/")
        with _explained(f"cannot list {directory}"):
            self._need_marker()
            try:
                with os.scandir(directory / above) as entries:
                    names = [e.name for e in entries if e.is_dir(follow_symlinks=False)]
            except (FileNotFoundError, NotADirectoryError):
                return
            found = [f"{above}{slash}{name}/" for name in names if name.startswith(beginning)]
            for folder in sorted(found):
                if folder != f"{_SUMS}/" and next(self._names(directory, folder), None):
                    yield folder

    @override
    def delete(self, container: str, name: str) -> None:
        path = self._object(container, name)
        with _explained(f"cannot delete {path}"):
            self._need_marker()
            with contextlib.suppress(FileNotFoundError, NotADirectoryError):
                path.unlink()
                disk.sync_directory(path.parent)
            with contextlib.suppress(OSError):
                self._sum(container, name).unlink()
            self._prune(path.parent, self._container(container))
            self._prune(self._sum(container, name).parent, self._container(container))

    @override
    def delete_container(self, container: str) -> None:
        directory = self._container(container)
        with _explained(f"cannot delete {directory}"):
            self._need_marker()
            if not directory.is_dir():
                return
            if next(self._names(directory, ""), None) is not None:
                raise Conflict(f"container {container!r} has objects; delete them first")
            shutil.rmtree(directory / _SUMS, ignore_errors=True)
            for current, _, _ in os.walk(directory, topdown=False):
                try:
                    Path(current).rmdir()
                except OSError as error:
                    if error.errno != errno.ENOTEMPTY:
                        raise
                    raise Conflict(
                        f"{current} has files that a program is writing or has left there; "
                        "repeat this later, or remove them"
                    ) from None
            disk.sync_directory(self._root)

    def close(self) -> None:
        """Do nothing: no file stays open between calls."""

    def _marker(self) -> Path:
        return self._root / MARKER

    def _initialise(self) -> None:
        if not self._root.is_dir():
            raise StorageRefused(
                f"[filesystem] path {self._root} does not exist; create the directory, "
                "or mount the file system that has it"
            )
        if any(self._root.iterdir()):
            raise StorageRefused(
                f"{self._root} is not empty and has no {MARKER}: it is not a store of backups; "
                "name an empty directory in [filesystem] path"
            )
        self._marker().touch(mode=0o640)
        disk.sync_directory(self._root)

    def _need_marker(self) -> None:
        if not self._marker().exists():
            raise StorageUnavailable(
                f"{self._root} has no {MARKER}: the store is not mounted, or was never used; "
                "mount it"
            )

    def _need_container(self, container: str) -> None:
        self._need_marker()
        if not self._container(container).is_dir():
            raise NotFound(f"there is no container {container!r}; create it first")

    def _container(self, container: str) -> Path:
        if not container or "/" in container or "\0" in container or container.startswith("."):
            raise InvalidValue(f"{container!r} cannot name a container")
        return self._root / container

    def _object(self, container: str, name: str) -> Path:
        parts = name.split("/")
        if (
            "\0" in name
            or any(part in ("", ".", "..") or part.startswith(_PART) for part in parts)
            or parts[0] == _SUMS
        ):
            raise InvalidValue(f"{name!r} cannot name an object")
        return self._container(container).joinpath(*parts)

    def _sum(self, container: str, name: str) -> Path:
        return self._container(container) / _SUMS / name

    @staticmethod
    def _write(part: Path, source: Body) -> tuple[str, os.stat_result]:
        digest = hashlib.md5(usedforsecurity=False)
        handle = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o640)
        with os.fdopen(handle, "wb", buffering=0) as file:
            while piece := source.read(_CHUNK):
                digest.update(piece)
                rest = memoryview(piece)
                while rest:
                    rest = rest[file.write(rest) :]
            disk.sync(handle)
            return digest.hexdigest(), os.fstat(handle)

    @staticmethod
    def _identity(stat: os.stat_result) -> str:
        return f"{stat.st_size} {stat.st_mtime_ns} {stat.st_ino}"

    def _remember(self, container: str, name: str, md5: str, stat: os.stat_result) -> None:
        path = self._sum(container, name)
        path.parent.mkdir(mode=0o750, parents=True, exist_ok=True)
        part = path.with_name(f"{_PART}{os.getpid()}-{secrets.token_hex(8)}")
        part.write_text(f"{md5} {self._identity(stat)}\n", encoding="ascii")
        part.rename(path)

    def _info(self, container: str, name: str) -> ObjectInfo | None:
        path = self._object(container, name)
        try:
            stat = path.stat()
            remembered = ""
            with contextlib.suppress(OSError, ValueError):
                remembered = self._sum(container, name).read_text(encoding="ascii")
            md5, _, identity = remembered.strip().partition(" ")
            if identity != self._identity(stat):
                if not path.is_file():
                    return None
                digest = hashlib.md5(usedforsecurity=False)
                with path.open("rb") as file:
                    while piece := file.read(_CHUNK):
                        digest.update(piece)
                md5 = digest.hexdigest()
                with contextlib.suppress(OSError):
                    self._remember(container, name, md5, stat)
            return ObjectInfo(name, stat.st_size, md5)
        except (FileNotFoundError, NotADirectoryError):
            return None

    @staticmethod
    def _names(directory: Path, prefix: str) -> Iterator[str]:
        """Yield the names below ``directory``, looking only where ``prefix`` can be."""
        if prefix.startswith(("/", f"{_SUMS}/")) or ".." in prefix.split("/"):
            raise InvalidValue(f"{prefix!r} cannot begin an object's name")

        def fail(error: OSError) -> None:
            # A directory that vanished is a deletion; one that cannot be read hides objects.
            if not isinstance(error, FileNotFoundError | NotADirectoryError):
                raise error

        start = directory / prefix.rpartition("/")[0]
        for current, directories, files in os.walk(start, onerror=fail):
            if Path(current) == directory and _SUMS in directories:
                directories.remove(_SUMS)
            base = Path(current).relative_to(directory)
            for file in files:
                if not file.startswith(_PART):
                    yield (base / file).as_posix()

    @staticmethod
    def _prune(directory: Path, container: Path) -> None:
        """Remove directories that became empty, up to the container."""
        while directory != container:
            try:
                directory.rmdir()
            except OSError:
                return  # not empty, or gone
            directory = directory.parent
