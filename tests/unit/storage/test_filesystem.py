# SPDX-License-Identifier: Apache-2.0
"""The filesystem driver's own promises: atomic, recognised, confined."""

from __future__ import annotations

import errno
import hashlib
import io
import os
import shutil
from pathlib import Path

import pytest

from magnetodb_backup.errors import (
    AccessDenied,
    Conflict,
    InvalidValue,
    NoSpace,
    StorageRefused,
    StorageUnavailable,
)
from magnetodb_backup.storage.filesystem import MARKER, FilesystemDriver, _explained


def _put(driver: FilesystemDriver, name: str, body: bytes = b"body") -> None:
    driver.put("c", name, body, size=len(body), md5=hashlib.md5(body).hexdigest())


@pytest.fixture
def driver(tmp_path: Path) -> FilesystemDriver:
    driver = FilesystemDriver(tmp_path)
    driver.ensure_container("c")
    return driver


def test_objects_are_plain_private_files(driver: FilesystemDriver, tmp_path: Path) -> None:
    _put(driver, "packs/ab/one")
    path = tmp_path / "c" / "packs" / "ab" / "one"
    assert path.read_bytes() == b"body"
    assert path.stat().st_mode & 0o007 == 0
    assert (tmp_path / "c").stat().st_mode & 0o007 == 0


def test_containers_are_directories_of_a_store(driver: FilesystemDriver, tmp_path: Path) -> None:
    (tmp_path / "c.file").touch()
    (tmp_path / ".hidden").mkdir()
    driver.ensure_container("c.d")
    assert list(driver.containers("c")) == ["c", "c.d"]
    assert list(driver.containers("")) == ["c", "c.d"]
    (tmp_path / MARKER).unlink()
    with pytest.raises(StorageUnavailable, match="not mounted, or was never used"):
        list(driver.containers("c"))


class Breaking(io.BytesIO):
    """A body that breaks after its first piece."""

    def read(self, size: int | None = -1, /) -> bytes:
        if self.tell():
            raise OSError(errno.EIO, "disk gone")
        return super().read(10)


def test_interrupted_put_leaves_the_old_object_and_no_rest(
    driver: FilesystemDriver, tmp_path: Path
) -> None:
    _put(driver, "o", b"old")
    with pytest.raises(Exception, match="disk gone"):
        driver.put("c", "o", Breaking(b"x" * 100), size=100, md5="0" * 32)
    assert b"".join(driver.read("c", "o")) == b"old"
    assert [path.name for path in (tmp_path / "c").iterdir() if path.is_file()] == ["o"]


def test_vanished_store_is_noticed(driver: FilesystemDriver, tmp_path: Path) -> None:
    _put(driver, "o")
    (tmp_path / MARKER).unlink()
    with pytest.raises(StorageUnavailable, match="mount"):
        _put(driver, "p")
    with pytest.raises(StorageUnavailable, match="mount"):
        list(driver.read("c", "o"))
    with pytest.raises(StorageUnavailable, match="mount"):
        list(driver.list("c"))
    with pytest.raises(StorageUnavailable, match="mount"):
        driver.head("c", "o")
    with pytest.raises(StorageUnavailable, match="mount"):
        driver.delete("c", "o")
    with pytest.raises(StorageRefused, match="not empty"):
        driver.ensure_container("d")


def test_missing_directory_and_relative_path(tmp_path: Path) -> None:
    with pytest.raises(StorageRefused, match="does not exist"):
        FilesystemDriver(tmp_path / "none").ensure_container("c")
    with pytest.raises(InvalidValue, match="absolute"):
        FilesystemDriver("relative/path")


@pytest.mark.parametrize(
    "name", ["../x", "a/../x", "/etc/passwd", "a//b", "", ".", "a/", ".md5/x", "a/.part-1", "a\0b"]
)
def test_names_cannot_leave_the_container(driver: FilesystemDriver, name: str) -> None:
    with pytest.raises(InvalidValue, match="cannot name an object"):
        _put(driver, name)
    with pytest.raises(InvalidValue, match="cannot name an object"):
        list(driver.read("c", name))
    with pytest.raises(InvalidValue, match="cannot name an object"):
        driver.delete("c", name)


@pytest.mark.parametrize("container", ["..", "a/b", "", ".hidden", "a\0"])
def test_containers_cannot_leave_the_store(driver: FilesystemDriver, container: str) -> None:
    with pytest.raises(InvalidValue, match="cannot name a container"):
        driver.ensure_container(container)


@pytest.mark.parametrize("prefix", ["../", "/etc", "a/../../", ".md5/"])
def test_listings_cannot_leave_the_container(driver: FilesystemDriver, prefix: str) -> None:
    with pytest.raises(InvalidValue, match="cannot begin an object's name"):
        list(driver.list("c", prefix))


def test_file_that_was_changed_by_hand_has_its_own_md5(
    driver: FilesystemDriver, tmp_path: Path
) -> None:
    _put(driver, "o")
    (tmp_path / "c" / "o").write_bytes(b"tampered")
    info = driver.head("c", "o")
    assert info is not None
    assert info.md5 == hashlib.md5(b"tampered").hexdigest()


def test_lost_sums_are_made_again(driver: FilesystemDriver, tmp_path: Path) -> None:
    _put(driver, "a/o")
    shutil.rmtree(tmp_path / "c" / ".md5")
    assert [info.md5 for info in driver.list("c")] == [hashlib.md5(b"body").hexdigest()]
    assert (tmp_path / "c" / ".md5" / "a" / "o").exists()


def test_rest_of_a_killed_put_is_no_object(driver: FilesystemDriver, tmp_path: Path) -> None:
    _put(driver, "o")
    (tmp_path / "c" / ".part-1-ab").write_bytes(b"half")
    assert [info.name for info in driver.list("c")] == ["o"]


def test_emptied_directories_go(driver: FilesystemDriver, tmp_path: Path) -> None:
    _put(driver, "backups/1/schema")
    driver.delete("c", "backups/1/schema")
    assert list((tmp_path / "c").iterdir()) == []


def test_real_full_device() -> None:
    with (
        open("/dev/full", "wb", buffering=0) as full,
        pytest.raises(NoSpace, match=r"storing.*free or add space"),
        _explained("storing"),
    ):
        full.write(b"x")


@pytest.mark.parametrize(
    ("number", "error"),
    [
        (errno.EDQUOT, NoSpace),
        (errno.EACCES, AccessDenied),
        (errno.EROFS, AccessDenied),
        (errno.ESTALE, StorageUnavailable),
        (errno.EIO, StorageUnavailable),
        (errno.ENAMETOOLONG, StorageRefused),
    ],
)
def test_meaning_of_errors(number: int, error: type[Exception]) -> None:
    with pytest.raises(error, match="storing"), _explained("storing"):
        raise OSError(number, os.strerror(number))


def test_container_that_has_a_part_of_an_object_stays(
    driver: FilesystemDriver, tmp_path: Path
) -> None:
    """Another program may be storing an object just now."""
    part = tmp_path / "c" / "packs" / ".part-1-abc"
    part.parent.mkdir()
    part.touch()
    with pytest.raises(Conflict, match=r"packs has files that a program is writing"):
        driver.delete_container("c")
    part.unlink()
    driver.delete_container("c")
    assert not (tmp_path / "c").exists()
    driver.delete_container("c")
