# SPDX-License-Identifier: Apache-2.0
"""Node control by nodetool: how it is called and what its answers mean."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import pytest
from oslo_config import cfg

from magnetodb_backup.cassandra.control.nodetool import NodetoolControl, from_conf
from magnetodb_backup.conf import nodetool as options
from magnetodb_backup.domain.tables import TableName
from magnetodb_backup.errors import AccessDenied, CassandraUnavailable, CommandFailed
from tests.lab.processes import wait_for
from tests.unit.cassandra.control.fake_nodetool import Answer, FakeNodetool

HOST_ID = "11111111-1111-4111-8111-111111111111"
WHERE = ["-h", "127.0.0.9", "-p", "7199"]
TABLES = [TableName("b", "two"), TableName("a", "x"), TableName("b", "one")]
INFO = f"""\
ID                     : {HOST_ID}
Gossip active          : true
Native Transport active: true
Load                   : 161.49 KiB
Generation No          : 1760000000
Uptime (seconds)       : 10
Token                  : (invoke with -T/--tokens to see all 16 tokens)
"""
NETSTATS = """\
Mode: {mode}
Not sending any streams.
Read Repair Statistics:
Attempted: 0
"""
UNKNOWN_KEYSPACE = """\
error: Unknown keyspace/cf pair (nope.t)
-- StackTrace --
java.lang.IllegalArgumentException: Unknown keyspace/cf pair (nope.t)
\tat org.apache.cassandra.db.Keyspace.getColumnFamilyStore(Keyspace.java:180)
"""


@pytest.fixture
def program(tmp_path: Path) -> FakeNodetool:
    return FakeNodetool(tmp_path)


@pytest.fixture
def control(program: FakeNodetool) -> NodetoolControl:
    return _control(program)


def _control(program: FakeNodetool, **more: object) -> NodetoolControl:
    return NodetoolControl([str(program.path)], host="127.0.0.9", port=7199, **more)  # type: ignore[arg-type]


def test_host_id(program: FakeNodetool, control: NodetoolControl) -> None:
    program.answer(Answer(INFO))
    assert control.host_id() == HOST_ID
    assert program.calls() == [[*WHERE, "info"]]


@pytest.mark.parametrize("mode", ["NORMAL", "JOINING", "DRAINED"])
def test_operation_mode(program: FakeNodetool, control: NodetoolControl, mode: str) -> None:
    program.answer(Answer(NETSTATS.format(mode=mode)))
    assert control.operation_mode() == mode
    assert program.calls() == [[*WHERE, "netstats"]]


@pytest.mark.parametrize("ask", [NodetoolControl.host_id, NodetoolControl.operation_mode])
@pytest.mark.parametrize("out", ["", "something else\n", "ID : \nMode:\n"])
def test_output_of_an_unknown_version(
    program: FakeNodetool, control: NodetoolControl, ask: Callable[[NodetoolControl], str], out: str
) -> None:
    program.answer(Answer(out))
    with pytest.raises(CommandFailed, match=r"prints no (ID|Mode)"):
        ask(control)


def test_flush_goes_by_keyspace(program: FakeNodetool, control: NodetoolControl) -> None:
    control.flush(TABLES)
    assert program.calls() == [
        [*WHERE, "flush", "--", "a", "x"],
        [*WHERE, "flush", "--", "b", "one", "two"],
    ]


@pytest.mark.parametrize(("ttl", "options"), [(3600, ["--ttl", "3600s"]), (None, []), (0, [])])
def test_snapshot_of_all_tables_is_one_call(
    program: FakeNodetool, control: NodetoolControl, ttl: int | None, options: list[str]
) -> None:
    control.take_snapshot("tag", TABLES, ttl_seconds=ttl)
    assert program.calls() == [
        [*WHERE, "snapshot", "-t", "tag", *options, "-kt", "a.x,b.one,b.two"]
    ]


def test_more_tables_than_an_argument_holds(
    program: FakeNodetool, control: NodetoolControl
) -> None:
    tables = [TableName("keyspace", f"t{number:04d}_{'x' * 190}") for number in range(1500)]
    control.take_snapshot("tag", tables, ttl_seconds=None)
    calls = program.calls()
    assert len(calls) == 4
    assert max(len(call[-1]) for call in calls) <= 100_000
    names = [name for call in calls for name in call[-1].split(",")]
    assert names == [f"{t.keyspace}.{t.table}" for t in tables]


def test_clear_snapshot(program: FakeNodetool, control: NodetoolControl) -> None:
    control.clear_snapshot("tag")
    assert program.calls() == [[*WHERE, "clearsnapshot", "-t", "tag"]]


@pytest.mark.parametrize("odd", ["$(touch pwned)", "; touch pwned", "a b", "*", "`id`", "'", '"'])
def test_no_shell_sees_the_arguments(
    program: FakeNodetool, control: NodetoolControl, odd: str
) -> None:
    control.take_snapshot(odd, [TableName("k", "T")], ttl_seconds=None)
    assert program.calls()[0][6] == odd
    assert not Path("pwned").exists()


def test_password_only_by_file(program: FakeNodetool) -> None:
    _control(program, username="cassandra", password_file="/secret/jmx").clear_snapshot("tag")
    (call,) = program.calls()
    assert call[:8] == [*WHERE, "-u", "cassandra", "-pwf", "/secret/jmx"]
    assert "-pw" not in call


def test_options_reach_the_command(program: FakeNodetool) -> None:
    conf = cfg.ConfigOpts()
    conf([], default_config_files=[], default_config_dirs=[])
    conf.register_opts(options.OPTS, group=options.GROUP)
    values = {
        "command": ["env", "X=1", str(program.path)],
        "host": "127.0.0.9",
        "port": 7299,
        "username": "u",
        "password_file": "/f",
    }
    for name, value in values.items():
        conf.set_override(name, value, options.GROUP)
    control = from_conf(conf)
    control.clear_snapshot("tag")
    control.close()
    assert program.calls()[0][:8] == ["-h", "127.0.0.9", "-p", "7299", "-u", "u", "-pwf", "/f"]


@pytest.mark.parametrize(
    ("answer", "error", "told"),
    [
        (
            # An unknown keyspace is told on stdout.
            Answer(out=UNKNOWN_KEYSPACE, code=1),
            CommandFailed,
            r"nodetool clearsnapshot: error: Unknown keyspace/cf pair \(nope.t\) java.lang",
        ),
        (
            Answer(err="error: Snapshot tag already exists.\n-- StackTrace --\n", code=2),
            CommandFailed,
            "Snapshot tag already exists",
        ),
        (Answer(code=3), CommandFailed, "nodetool clearsnapshot: no output"),
        (
            Answer(
                err="nodetool: Failed to connect to '127.0.0.9:7199' - ConnectException: "
                "'Connection refused (Connection refused)'.\n",
                code=1,
            ),
            CassandraUnavailable,
            "does not reach JMX at 127.0.0.9:7199; is Cassandra running",
        ),
        (
            Answer(
                err="nodetool: Failed to connect to '127.0.0.9:7199' - SecurityException: "
                "'Authentication failed! Credentials required'.\n",
                code=1,
            ),
            AccessDenied,
            r"check \[nodetool\] username and password_file",
        ),
    ],
    ids=["keyspace", "tag", "silent", "refused", "denied"],
)
def test_failures_are_told_apart(
    program: FakeNodetool,
    control: NodetoolControl,
    answer: Answer,
    error: type[Exception],
    told: str,
) -> None:
    program.answer(answer)
    with pytest.raises(error, match=told) as failure:
        control.clear_snapshot("tag")
    assert "StackTrace" not in str(failure.value)
    assert "\tat " not in str(failure.value)


def test_warnings_are_no_failures(program: FakeNodetool, control: NodetoolControl) -> None:
    program.answer(Answer(INFO, err="WARN: Read timed out, SecurityException\n"))
    assert control.host_id() == HOST_ID


def test_long_output_is_cut(program: FakeNodetool, control: NodetoolControl) -> None:
    program.answer(Answer(err="error: x" * 10_000, code=1))
    with pytest.raises(CommandFailed) as failure:
        control.clear_snapshot("tag")
    assert len(str(failure.value)) < 600


def test_much_output_blocks_nothing(program: FakeNodetool, control: NodetoolControl) -> None:
    program.answer(Answer(out="x" * 500_000 + "\n" + INFO, err="y" * 500_000))
    assert control.host_id() == HOST_ID


def test_undecodable_output(program: FakeNodetool, control: NodetoolControl) -> None:
    program.answer(Answer(out="\udcff\n" + INFO))
    assert control.host_id() == HOST_ID


def test_timeout_kills_the_whole_group(program: FakeNodetool) -> None:
    program.answer(Answer(seconds=60))
    started = time.monotonic()
    with pytest.raises(CassandraUnavailable, match=r"snapshot took longer than 1 s \(\[nodetool\]"):
        _control(program, timeout=1.0).take_snapshot("tag", TABLES, ttl_seconds=None)
    assert time.monotonic() - started < 20
    wait_for(lambda: not program.processes(), deadline=5, what="the end of nodetool's child")


@pytest.mark.parametrize("missing", ["/nowhere/nodetool", "/etc/passwd"])
def test_program_that_cannot_be_run(missing: str) -> None:
    control = NodetoolControl([missing], host="127.0.0.9", port=7199)
    with pytest.raises(CommandFailed, match=rf"{missing} cannot be run .*set \[nodetool\] command"):
        control.host_id()
