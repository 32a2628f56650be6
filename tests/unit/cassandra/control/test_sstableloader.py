# SPDX-License-Identifier: Apache-2.0
"""How sstableloader is called and what its output means."""

from __future__ import annotations

from pathlib import Path

import pytest
from oslo_config import cfg

from magnetodb_backup.cassandra.control.sstableloader import BulkLoader, Loaded, from_conf
from magnetodb_backup.conf import opts
from magnetodb_backup.errors import (
    AccessDenied,
    Cancelled,
    CassandraUnavailable,
    CommandFailed,
    SSTableRefused,
    StreamFailed,
    UnknownTable,
)
from tests.lab.processes import wait_for
from tests.unit.cassandra.control.fake_nodetool import Answer, FakeNodetool

DIRECTORY = "/staging/Shop/order"
SUMMARY = "Summary statistics: \n   Total bytes transferred : 1.5KiB\n"
IN_BYTES = "   Total bytes transferred : 304B\n"
BYTES = "   Total bytes transferred       : 1536      \n"


@pytest.fixture
def program(tmp_path: Path) -> FakeNodetool:
    return FakeNodetool(tmp_path)


def _loader(program: FakeNodetool, **more: float) -> BulkLoader:
    values = {"native_port": 9042, "timeout": 20, **more}
    return BulkLoader([str(program.path), "-f", "/c.yaml"], **values)  # type: ignore[arg-type]


def _never() -> None:
    pass


def _load(program: FakeNodetool) -> Loaded:
    return _loader(program).load(DIRECTORY, ["10.0.0.1", "10.0.0.2"], _never)


def test_arguments(program: FakeNodetool) -> None:
    _load(program)
    _loader(program, connections_per_host=3).load(DIRECTORY, ["::1"], _never)
    assert program.calls() == [
        ["-f", "/c.yaml", "-d", "10.0.0.1,10.0.0.2", "-p", "9042", DIRECTORY],
        ["-f", "/c.yaml", "-d", "::1", "-p", "9042", "-cph", "3", DIRECTORY],
    ]


def test_options(program: FakeNodetool) -> None:
    conf = cfg.ConfigOpts()
    opts.register(conf)
    conf([])
    conf.set_override("command", [str(program.path)], "sstableloader")
    conf.set_override("native_port", 9043, "cassandra")
    from_conf(conf).load(DIRECTORY, ["10.0.0.1"], _never)
    assert program.calls() == [["-d", "10.0.0.1", "-p", "9043", DIRECTORY]]


@pytest.mark.parametrize(
    ("out", "sent"), [("", 0), (BYTES, 1536), (SUMMARY, 1536), (IN_BYTES, 304)]
)
def test_bytes_where_they_are_told(program: FakeNodetool, out: str, sent: int) -> None:
    program.answer(Answer(out))
    assert _load(program) == Loaded(sent, {})


def test_progress_reports_fill_no_memory_and_hide_nothing(program: FakeNodetool) -> None:
    skipped = "Skipping file nb-1-big-Data.db, error opening it: bad\n"
    program.answer(Answer(skipped + "\rprogress: [/10.0.0.1]0:1/2 50 %" * 20_000 + "\n" + BYTES))
    loaded = _load(program)
    assert loaded.bytes_sent == 1536
    assert loaded.skipped == {"nb-1-big": f"sstableloader: {skipped.strip()}"}


def test_skipped_sstables_in_the_middle_of_a_long_output_are_found(program: FakeNodetool) -> None:
    """Unnoticed, they would be removed as sent, and the restore would be a success."""
    noise = "".join(f"WARN noise {n}\n" for n in range(1000))
    names = [f"nb-{n}-big" for n in range(1, 301)]
    skipped = "".join(f"Skipping file {name}-Data.db, error opening it: bad\n" for name in names)
    program.answer(Answer(noise + skipped + noise + BYTES))
    loaded = _load(program)
    assert sorted(loaded.skipped) == sorted(names)
    assert loaded.bytes_sent == 1536


# As Cassandra 5.0.9 tells it, cut.
_NOT_TAKEN = """ERROR StreamSession.java:1186 - Remote peer /10.0.0.2:7000 failed stream session.
ERROR StreamSession.java:717 - Socket closed before session completion, peer is probably down.
java.nio.channels.ClosedChannelException: null
Streaming to the following hosts failed:
[/10.0.0.2:7000]"""
_DOWN = """Session peer /10.0.0.2:7000 Failed because of an unknown exception
java.io.IOException: failed to connect to /10.0.0.2:7000 for streaming data
Streaming to the following hosts failed:
[/10.0.0.2:7000]"""
_STOPPED = """Socket closed before session completion, peer 10.0.0.2:7000 is probably down.
Streaming to the following hosts failed:"""


@pytest.mark.parametrize(
    ("out", "error", "told"),
    [
        ("org.apache.cassandra.io.sstable.CorruptSSTableException: x", SSTableRefused, DIRECTORY),
        ("Skipping file a: table Shop.order doesn't exist", UnknownTable, "Shop.order"),
        ("AuthenticationException: Authentication error", AccessDenied, "a script that adds"),
        (_NOT_TAKEN, StreamFailed, f"{DIRECTORY}; their logs have the reason: .*10.0.0.2:7000"),
        (_DOWN, CassandraUnavailable, "to 10.0.0.1, 10.0.0.2 failed: .*failed to connect"),
        (_STOPPED, CassandraUnavailable, "probably down"),
        ("NoHostAvailableException", CassandraUnavailable, "to 10.0.0.1, 10.0.0.2 failed"),
        ("Unrecognized option: --nonsense", CommandFailed, r"\[sstableloader\] command.*nonsense"),
        ("java.lang.OutOfMemoryError: Java heap space", CommandFailed, "memory that it gives"),
        ("", CommandFailed, "no output"),
    ],
)
def test_failures(program: FakeNodetool, out: str, error: type[Exception], told: str) -> None:
    program.answer(Answer(out, code=1))
    with pytest.raises(error, match=f"(?s){told}"):
        _load(program)


def test_what_is_passed_over_is_named_though_it_ends_well(program: FakeNodetool) -> None:
    uuid = "da-3g8b_0x4c_1zhkg2bqz2lxs1w8gb-bti"
    program.answer(
        Answer(
            "Skipping file nb-1-big-Data.db, error opening it: x\n"
            f"Skipping file {uuid}-Data.db because index is missing\n" + BYTES
        )
    )
    loaded = _load(program)
    assert loaded.bytes_sent == 1536
    assert loaded.skipped == {
        "nb-1-big": "sstableloader: Skipping file nb-1-big-Data.db, error opening it: x",
        uuid: f"sstableloader: Skipping file {uuid}-Data.db because index is missing",
    }


def test_what_is_passed_over_without_a_name_is_a_failure(program: FakeNodetool) -> None:
    program.answer(Answer("Skipping file Data.db, error opening it: x\n" + BYTES))
    with pytest.raises(SSTableRefused, match=rf"Skipping file Data.db.*{DIRECTORY}"):
        _load(program)


def test_killed_it_may_be_tried_again(program: FakeNodetool) -> None:
    program.answer(Answer("begun", code=137))
    with pytest.raises(CassandraUnavailable, match="killed by signal 9: begun"):
        _load(program)


def test_cancelling_ends_the_whole_group(program: FakeNodetool) -> None:
    program.answer(Answer(seconds=60))
    asked: list[bool] = []

    def cancel() -> None:
        asked.append(bool(program.processes()))
        if asked[-1]:
            raise Cancelled("cancelled")

    with pytest.raises(Cancelled):
        _loader(program, timeout=60).load(DIRECTORY, ["10.0.0.1"], cancel)
    assert asked[0] is False, "asked before anything is started"
    wait_for(lambda: not program.processes(), deadline=5, what="the end of sstableloader's child")


def test_timeout_ends_the_whole_group(program: FakeNodetool) -> None:
    program.answer(Answer(seconds=60))
    with pytest.raises(CassandraUnavailable, match=r"\[sstableloader\] timeout"):
        _loader(program, timeout=1).load(DIRECTORY, ["10.0.0.1"], _never)
    wait_for(lambda: not program.processes(), deadline=5, what="the end of sstableloader's child")


def test_program_that_cannot_be_run() -> None:
    loader = BulkLoader(["/nowhere/sstableloader"], native_port=9042, timeout=5)
    with pytest.raises(CommandFailed, match=r"cannot be run .*set \[sstableloader\] command"):
        loader.load(DIRECTORY, ["10.0.0.1"], _never)
