# SPDX-License-Identifier: Apache-2.0
"""What a restore takes of fetched files, and that these stay as they are."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from magnetodb_backup.cassandra.files.fetched import FetchedFiles, Origin
from magnetodb_backup.cassandra.files.links import Links, take_over
from magnetodb_backup.cassandra.files.staging import Staging
from magnetodb_backup.domain.tables import TableName
from magnetodb_backup.errors import Cancelled, DataDirectoryProblem
from tests.unit.disk_calls import recorded_disk_calls

BACKUP = "cccccccc-cccc-4ccc-8ccc-cccccccccccc"
SOURCE = "11111111-1111-4111-8111-111111111111"
RESTORE = "aaaaaaaa-aaaa-4aaa-8aaa-aaaaaaaaaaaa"
T, COPY = TableName("ks", "t"), TableName("other", "copy")
NAMES = ("nb-1-big-Data.db", "nb-1-big-TOC.txt", "nb-2-big-Data.db")


class Taking:
    """A restore on a node with two data directories; the files are in the second one."""

    def __init__(self, root: Path) -> None:
        directories = [root / "data0", root / "data1"]
        for directory in directories:
            directory.mkdir()
        names = [str(d) for d in directories]
        self.fetched = FetchedFiles(names, Origin("c", BACKUP, SOURCE, "ab" * 32).name)
        self.staging = Staging(names, RESTORE)
        self.staging.prepare()
        self.origin = self.fetched.directory(T, 1)
        self.origin.mkdir(parents=True)
        for name in NAMES:
            (self.origin / name).write_bytes(name.encode())
        self.target = self.staging.directory(SOURCE, COPY, 1)

    def links(self, *names: str) -> Links:
        links = Links(self.fetched, self.staging, SOURCE)
        for name in names or NAMES:
            links.add(T, COPY, 1, name)
        return links


@pytest.fixture
def taking(tmp_path: Path) -> Taking:
    return Taking(tmp_path)


def test_links(taking: Taking) -> None:
    """Cassandra replaces files, but appends to the list of components, which is a copy."""
    links = taking.links()
    assert links.counts() == {COPY: {"nb-1-big": 2, "nb-2-big": 1}}
    links.make(lambda: None)
    assert sorted(os.listdir(taking.target)) == sorted(NAMES)
    for name in NAMES:
        here, there = taking.target / name, taking.origin / name
        assert here.read_bytes() == there.read_bytes()
        assert here.samefile(there) == (not name.endswith("TOC.txt"))
    with (taking.target / "nb-1-big-TOC.txt").open("a") as toc:
        toc.write("SAI+aa+Meta.db\n")
    assert (taking.origin / "nb-1-big-TOC.txt").read_text() == "nb-1-big-TOC.txt"


def test_copies_are_cassandras_too(taking: Taking) -> None:
    if os.geteuid() == 0:
        os.chown(taking.staging.note("x").parent, 12345, 23456)
        os.chown(taking.staging.directory(SOURCE, T, 1).parents[2], 12345, 23456)
    old = os.umask(0o077)
    try:
        taking.links().make(lambda: None)
    finally:
        os.umask(old)
    copy, directory = (taking.target / "nb-1-big-TOC.txt").stat(), taking.target.stat()
    assert stat.S_IMODE(copy.st_mode) == 0o660
    assert stat.S_IMODE(directory.st_mode) == 0o770
    assert (copy.st_uid, copy.st_gid) == (directory.st_uid, directory.st_gid)


def test_links_again(taking: Taking) -> None:
    """An attempt that died has left some, a worker of an older release others."""
    taking.links("nb-2-big-Data.db", "nb-1-big-TOC.txt").make(lambda: None)
    (taking.target / "nb-9-big-Data.db.part").write_bytes(b"half")
    (taking.target / "nb-1-big-Data.db").write_bytes(b"other")
    taking.links().make(lambda: None)
    assert {p.name: p.read_text() for p in taking.target.iterdir()} == {n: n for n in NAMES}


def test_links_are_durable(taking: Taking) -> None:
    with recorded_disk_calls() as calls:
        taking.links().make(lambda: None)
    assert calls[-1] == ("fsync", str(taking.target))


def test_links_that_are_cancelled(taking: Taking) -> None:
    def cancelled() -> None:
        raise Cancelled("enough")

    with pytest.raises(Cancelled):
        taking.links().make(cancelled)


def test_file_that_is_gone(taking: Taking) -> None:
    (taking.origin / "nb-2-big-Data.db").unlink()
    with pytest.raises(DataDirectoryProblem, match=r"links to the files in .* cannot be created"):
        taking.links().make(lambda: None)


def test_what_an_older_release_has_fetched(taking: Taking) -> None:
    """It had fetched into the directory of the restore; what is here already stays."""
    for path in taking.origin.iterdir():
        if path.name != "nb-2-big-Data.db":
            path.unlink()
    taking.target.mkdir(parents=True)
    for name in (*NAMES, "nb-3-big-Data.db.part"):
        (taking.target / name).write_bytes(f"old {name}".encode())
    take_over(taking.staging, taking.fetched, SOURCE, {T: COPY})
    assert os.listdir(taking.origin) == ["nb-2-big-Data.db"]  # no journal of that release
    taking.staging.note(f"journal-{SOURCE}.jsonl").write_bytes(b"")
    take_over(taking.staging, taking.fetched, SOURCE, {T: COPY})
    assert {p.name: p.read_text() for p in taking.origin.iterdir()} == {
        "nb-1-big-Data.db": "old nb-1-big-Data.db",
        "nb-1-big-TOC.txt": "old nb-1-big-TOC.txt",
        "nb-2-big-Data.db": "nb-2-big-Data.db",
        "nb-3-big-Data.db.part": "old nb-3-big-Data.db.part",
    }
