# SPDX-License-Identifier: Apache-2.0
"""What a journal remembers, and what it does not believe."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import pytest

from magnetodb_backup.errors import DataDirectoryProblem
from magnetodb_backup.repository.download.journal import FinishedFile, Journal

SHA256 = "ab" * 32


def _finished(path: Path, body: bytes = b"bytes") -> FinishedFile:
    path.write_bytes(body)
    found = path.stat()
    return FinishedFile(str(path), len(body), SHA256, found.st_mtime_ns, found.st_ino)


def _has(journal: Path, path: Path, size: int = 5, sha256: str = SHA256) -> bool:
    """Ask a journal that is opened anew."""
    opened = Journal(journal)
    try:
        return opened.has(path, size, sha256)
    finally:
        opened.close()


def _append(journal: Path, *files: FinishedFile) -> None:
    opened = Journal(journal)
    opened.append(files)
    opened.close()


@pytest.fixture
def journal(tmp_path: Path) -> Path:
    return tmp_path / "deep" / "journal.jsonl"


@pytest.fixture
def path(tmp_path: Path, journal: Path) -> Path:
    """A file that the journal has."""
    path = tmp_path / "f"
    _append(journal, _finished(path))
    return path


def test_finished_file(journal: Path, path: Path) -> None:
    assert _has(journal, path)
    assert _has(journal, path)


def test_what_is_appended_is_known_after_a_restart_only(journal: Path, tmp_path: Path) -> None:
    opened, file = Journal(journal), _finished(tmp_path / "f")
    opened.append([file])
    assert not opened.has(tmp_path / "f", 5, SHA256)
    opened.close()
    assert _has(journal, tmp_path / "f")


def test_another_size_or_digest_is_wanted(journal: Path, path: Path) -> None:
    assert not _has(journal, path, size=6)
    assert not _has(journal, path, sha256="cd" * 32)
    assert not _has(journal, path.with_name("g"))


def _touch(path: Path) -> None:
    os.utime(path, ns=(0, path.stat().st_mtime_ns + 1))


def _copy(path: Path) -> None:
    other, mtime = path.with_name("other"), path.stat().st_mtime_ns
    other.write_bytes(path.read_bytes())
    os.utime(other, ns=(mtime, mtime))
    other.rename(path)


def _append_byte(path: Path) -> None:
    mtime = path.stat().st_mtime_ns
    with path.open("ab") as file:
        file.write(b"x")
    os.utime(path, ns=(mtime, mtime))


def _link(path: Path) -> None:
    path.rename(path.with_name("other"))
    path.symlink_to("other")


def _directory(path: Path) -> None:
    path.unlink()
    path.mkdir()


@pytest.mark.parametrize("spoil", [Path.unlink, _touch, _copy, _append_byte, _link, _directory])
def test_file_that_is_another_one_now(
    journal: Path, path: Path, spoil: Callable[[Path], None]
) -> None:
    spoil(path)
    assert not _has(journal, path)


def test_last_line_of_a_file_counts(journal: Path, path: Path) -> None:
    _append(journal, _finished(path, b"other bytes"))
    assert _has(journal, path, size=11)
    assert not _has(journal, path)


def _line(path: Path, /, **values: object) -> bytes:
    return json.dumps({**asdict(_finished(path)), **values}).encode() + b"\n"


GARBAGE = [
    b"\n",
    b"{}\n",
    b"null\n",
    b"[]\n",
    b"5\n",
    b"{\xff\n",
    b"\0" * 100 + b"\n",
    b'{"path": "x"}\n',
    b"[" * 60_000 + b"\n",
    b"x" * 200_000 + b"\n",
    b'{"path": "' + b"x" * 70_000 + b'"}\n',
]


@pytest.mark.parametrize("garbage", GARBAGE, ids=lambda g: repr(g[:12]))
def test_lines_that_are_none(journal: Path, path: Path, garbage: bytes) -> None:
    """Those around them count."""
    other = path.with_name("g")
    with journal.open("ab") as file:
        file.write(garbage + _line(other))
    assert _has(journal, path)
    assert _has(journal, other)


@pytest.mark.parametrize(
    "values",
    [
        {"size": -1}, {"size": 1 << 63}, {"size": 10**400}, {"size": "5"}, {"size": True},
        {"size": 5.0}, {"inode": None}, {"mtime_ns": "0"}, {"sha256": 5}, {"path": ["x"]},
        {"path": "\ud800"}, {"more": 1},
    ],
    ids=str,
)  # fmt: skip
def test_lines_with_wrong_values(journal: Path, tmp_path: Path, values: dict[str, object]) -> None:
    path = tmp_path / "f"
    journal.parent.mkdir()
    journal.write_bytes(_line(path, **values))
    assert not _has(journal, path)


def test_large_inode(journal: Path, tmp_path: Path) -> None:
    """Some file systems have numbers that no database takes."""
    journal.parent.mkdir()
    journal.write_bytes(_line(tmp_path / "f", inode=(1 << 64) - 1) + _line(tmp_path / "g"))
    assert not _has(journal, tmp_path / "f")
    assert _has(journal, tmp_path / "g")


def test_torn_last_line(journal: Path, path: Path) -> None:
    """The next line must not be written behind it."""
    other, third = path.with_name("g"), path.with_name("h")
    line = _line(other)
    whole = journal.read_bytes()
    for length in range(len(line)):
        journal.write_bytes(whole + line[:length])
        _append(journal, _finished(third))
        assert _has(journal, path)
        assert _has(journal, third)
        assert not _has(journal, other)
    assert journal.read_bytes().startswith(whole)


def test_name_that_is_no_text(journal: Path, tmp_path: Path) -> None:
    path = tmp_path / os.fsdecode(b"f\xff")
    _append(journal, _finished(path))
    assert _has(journal, path)


def test_lines_of_many_threads(journal: Path, tmp_path: Path) -> None:
    opened = Journal(journal)
    files = [[_finished(tmp_path / f"{t}-{n}") for n in range(50)] for t in range(8)]

    def append_one_by_one(own: list[FinishedFile]) -> None:
        for file in own:
            opened.append([file])

    threads = [threading.Thread(target=append_one_by_one, args=(own,)) for own in files]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    opened.close()
    again = Journal(journal)
    assert all(again.has(Path(f.path), 5, SHA256) for own in files for f in own)
    again.close()


def test_link_in_the_journals_place(tmp_path: Path) -> None:
    (tmp_path / "precious").write_bytes(b"precious")
    (tmp_path / "journal").symlink_to(tmp_path / "precious")
    with pytest.raises(DataDirectoryProblem, match="journal is a link; a restore does not follow"):
        Journal(tmp_path / "journal")
    assert (tmp_path / "precious").read_bytes() == b"precious"


def test_directory_in_the_journals_place(tmp_path: Path) -> None:
    (tmp_path / "journal").mkdir()
    with pytest.raises(DataDirectoryProblem, match="journal cannot be written"):
        Journal(tmp_path / "journal")
