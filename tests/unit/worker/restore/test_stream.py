# SPDX-License-Identifier: Apache-2.0
"""Sending staged SSTables: in batches, and what becomes of those that are refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from magnetodb_backup.cassandra.files.staging import Staging
from magnetodb_backup.domain.tables import TableName
from magnetodb_backup.errors import (
    Cancelled,
    CassandraUnavailable,
    CommandFailed,
    RestoreRefused,
    StreamFailed,
)
from magnetodb_backup.tasks.kinds import TaskKind
from magnetodb_backup.worker.restore import stream as streaming
from magnetodb_backup.worker.restore.stream import StreamWork
from magnetodb_backup.worker.tasks import TaskContext
from tests.unit.worker.fake_changes import FakeLoader, rows
from tests.unit.worker.fake_node import FakeNode, member
from tests.unit.worker.performing import perform

RESTORE = "dddddddd-dddd-4ddd-8ddd-dddddddddddd"
TABLE = TableName("ks", "t")
SOURCES = [member(n).host_id for n in (7, 8)]


class Streaming:
    """A node on which a restore has staged SSTables, and its worker."""

    def __init__(self, root: Path) -> None:
        self.node = FakeNode(root)
        for path in (p for d in self.node.data.paths for p in d.glob("*/*/*-Data.db")):
            path.unlink()
        self.loader = FakeLoader(lambda: [self.node])
        self.staging = Staging(self.node.data.names, RESTORE)
        self.staging.prepare()
        self.context = TaskContext()

    def stage(self, source: str, sstable: str, content: bytes, disk: int = 0) -> Path:
        directory = self.staging.directory(source, TABLE, disk)
        directory.mkdir(parents=True, exist_ok=True)
        for component in ("Data.db", "TOC.txt"):
            (directory / f"{sstable}-{component}").write_bytes(content)
        return directory

    def stream(self) -> Any:
        part = {"manifest": {"name": "n", "size": 1, "sha256": "0"}, "tables": [[["ks", "t"]] * 2]}
        arguments = {
            "restore_id": RESTORE,
            "contacts": ["10.0.0.1"],
            "parts": [{"source": s, **part} for s in SOURCES],
        }
        work = StreamWork(self.node.local(), self.loader)
        return perform(work.handlers(), TaskKind.RESTORE_STREAM, arguments, self.context)

    def rows(self) -> list[bytes]:
        return rows(self.node, TABLE)

    def left(self) -> set[str]:
        """Return the staged files that are left, by their names below the restore's roots."""
        roots = [Path(d) / ".magnetodb-backup" / RESTORE for d in self.node.data.names]
        return {
            str(p.relative_to(root))
            for root in roots
            for p in root.rglob("*")
            if not p.is_dir() and p.parent != root
        }


@pytest.fixture
def stream(tmp_path: Path) -> Streaming:
    return Streaming(tmp_path)


@pytest.fixture
def without_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streaming, "_PAUSE", 0.001)


def test_the_loader_gets_addresses_for_clients(stream: Streaming) -> None:
    """CQL may be served on another network than the ring's, and on ports of its own."""
    served: list[tuple[dict[str, tuple[str, int | None]], str]] = [
        ({}, "10.0.0.1"),
        ({"10.0.0.1": ("192.0.2.1", None)}, "192.0.2.1"),
        ({"10.0.0.1": ("192.0.2.1", 9142)}, "192.0.2.1:9142"),
        ({"10.0.0.1": ("2001:db8::1", 9142)}, "[2001:db8::1]:9142"),
    ]
    for stream.node.native, contact in served:
        stream.stage(SOURCES[0], "nb-1-big", b"one")
        stream.stream()
        assert stream.loader.loaded[-1][1] == (contact,)


def test_all_nodes_and_disks_at_once(stream: Streaming) -> None:
    stream.stage(SOURCES[0], "nb-1-big", b"one")
    stream.stage(SOURCES[0], "nb-2-big", b"two", disk=1)
    stream.stage(SOURCES[1], "nb-1-big", b"three")
    assert stream.stream() == {"bytes_sent": 11, "refused": {}}
    assert stream.loader.loaded == [("ks.t", ("10.0.0.1",))]
    assert stream.rows() == [b"one", b"three", b"two"]
    assert stream.left() == set()
    assert stream.stream() == {"bytes_sent": 0, "refused": {}}, "repeated, there is nothing left"
    assert len(stream.loader.loaded) == 1


def test_only_the_tables_of_the_parts_are_sent(stream: Streaming) -> None:
    """Others of the same node backup are imported."""
    stream.stage(SOURCES[0], "nb-1-big", b"one")
    other = stream.staging.directory(SOURCES[0], TableName("ks", "other"), 0)
    other.mkdir(parents=True)
    (other / "nb-1-big-Data.db").write_bytes(b"imported")
    assert stream.stream() == {"bytes_sent": 3, "refused": {}}
    assert stream.left() == {f"{SOURCES[0]}/ks/other/nb-1-big-Data.db"}


def test_many_are_sent_in_batches(stream: Streaming) -> None:
    for number in range(250):
        stream.stage(SOURCES[0], f"nb-{number}-big", b"%03d" % number)
    stream.stream()
    assert len(stream.loader.loaded) == 3
    assert stream.rows() == [b"%03d" % n for n in range(250)]


def test_large_ones_are_sent_in_batches(stream: Streaming, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streaming, "_BATCH_BYTES", 10)
    for number in range(3):
        stream.stage(SOURCES[0], f"nb-{number}-big", b"large")
    stream.stream()
    assert len(stream.loader.loaded) == 3


def test_those_that_the_loader_passes_over(stream: Streaming) -> None:
    stream.stage(SOURCES[0], "nb-1-big", b"good")
    directory = stream.stage(SOURCES[1], "nb-1-big", b"bad")
    stream.loader.malformed = {b"bad"}
    told = [f"nb-1-big of node backup {SOURCES[1]} (Skipping file nb-1-big-Data.db)"]
    assert stream.stream() == {"bytes_sent": 4, "refused": {"ks.t": told}}
    assert stream.rows() == [b"good"]
    where = f"{SOURCES[1]}/ks/t/refused"
    assert stream.left() == {f"{where}/nb-1-big-Data.db", f"{where}/nb-1-big-TOC.txt"}
    assert stream.stream() == {"bytes_sent": 0, "refused": {"ks.t": told}}, "it is still known"
    stream.stage(SOURCES[1], "nb-1-big", b"bad")  # as after a crash before it was put aside
    assert stream.stream()["refused"] == {"ks.t": told}
    assert directory.exists()


@pytest.mark.parametrize("kind", ["unreadable", "not_taken"])
@pytest.mark.usefixtures("without_pauses")
def test_one_that_ends_the_whole_run(stream: Streaming, kind: str) -> None:
    for number, content in enumerate([b"one", b"bad", b"three"]):
        stream.stage(SOURCES[0], f"nb-{number}-big", content)
    setattr(stream.loader, kind, {b"bad"})
    result = stream.stream()
    (told,) = result["refused"]["ks.t"]
    assert told.startswith(f"nb-1-big of node backup {SOURCES[0]} (")
    assert stream.rows() == [b"one", b"three"]
    assert result["bytes_sent"] == 8
    assert all("refused/nb-1-big" in name for name in stream.left())


@pytest.mark.usefixtures("without_pauses")
def test_what_nodes_do_not_take_is_tried_again(stream: Streaming) -> None:
    stream.stage(SOURCES[0], "nb-1-big", b"one")
    stream.loader.troubles = [StreamFailed("nodes did not take it")] * 2
    assert stream.stream() == {"bytes_sent": 3, "refused": {}}
    assert len(stream.loader.loaded) == 3


@pytest.mark.parametrize("error", [CassandraUnavailable("down"), CommandFailed("no option")])
def test_other_troubles_end_the_task(stream: Streaming, error: Exception) -> None:
    stream.stage(SOURCES[0], "nb-1-big", b"one")
    before = stream.left()
    stream.loader.troubles = [error]
    with pytest.raises(type(error)):
        stream.stream()
    assert stream.left() == before
    assert stream.stream() == {"bytes_sent": 3, "refused": {}}


def test_cancelled(stream: Streaming) -> None:
    stream.stage(SOURCES[0], "nb-1-big", b"one")
    stream.context.cancel()
    with pytest.raises(Cancelled):
        stream.stream()
    assert stream.loader.loaded == []


def test_cancelled_in_a_pause(stream: Streaming) -> None:
    stream.stage(SOURCES[0], "nb-1-big", b"one")

    def cancel() -> None:
        stream.loader.before_load = lambda: None
        stream.context.cancel()
        raise StreamFailed("nodes did not take it")

    stream.loader.before_load = cancel
    with pytest.raises(Cancelled):
        stream.stream()
    assert stream.loader.loaded == []


def test_a_storage_attached_index_that_somebody_makes_meanwhile(stream: Streaming) -> None:
    stream.stage(SOURCES[0], "nb-1-big", b"one")
    stream.node.schema += "CREATE CUSTOM INDEX by_v ON ks.t (v) USING 'sai';"
    with pytest.raises(RestoreRefused, match=r"by_v of ks\.t.*drop them"):
        stream.stream()
    assert stream.loader.loaded == []


def test_an_index_of_another_table_does_not_hinder(stream: Streaming) -> None:
    stream.stage(SOURCES[0], "nb-1-big", b"one")
    stream.node.schema += "CREATE CUSTOM INDEX by_v ON ks.u (v) USING 'sai';"
    assert stream.stream()["bytes_sent"] == 3
