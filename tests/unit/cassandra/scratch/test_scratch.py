# SPDX-License-Identifier: Apache-2.0
"""A scratch Cassandra is started, asked, stopped and removed, whatever happens meanwhile."""

from __future__ import annotations

import fcntl
import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from magnetodb_backup.cassandra.scratch.node import ScratchSettings
from magnetodb_backup.cassandra.scratch.scratch import ScratchCassandra, ScratchPlace
from magnetodb_backup.domain.ring import RingMember
from magnetodb_backup.domain.tables import TableName
from magnetodb_backup.errors import Cancelled, CassandraUnavailable, CommandFailed, ScratchFailed
from tests.lab.processes import wait_for
from tests.unit.cassandra.scratch.fake_java import FakeJava
from tests.unit.worker.fake_node import member

TABLE = TableName("ks", "t")


def never() -> None:
    """Nobody cancels."""


def runs(pid: int) -> bool:
    """Return whether a process runs; one that has ended may still wait for its parent."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


class Cql:
    """A connection that refuses what it is told to refuse."""

    def __init__(self, address: str, port: int, refused: dict[str, str]) -> None:
        self._where, self.refused = f"{address}:{port}", refused

    def execute(self, statement: str) -> None:
        if statement == "hang up":
            raise CassandraUnavailable("no answer")
        if statement in self.refused:
            raise CommandFailed(f"Cassandra at {self._where}: {self.refused[statement]}")

    def local(self) -> RingMember:
        return member(1)

    def close(self) -> None:
        """Do nothing."""


class Scratching:
    """A scratch Cassandra with a program in the place of Java."""

    def __init__(self, root: Path) -> None:
        self.java = FakeJava(root)
        self.node_yaml = root / "cassandra.yaml"
        self.node_yaml.write_text("partitioner: P\nsasi_indexes_enabled: true\nrpc_port: 9160\n")
        self.path = root / "scratch"
        self.connects: list[int] = []
        self.unready = 0
        self.refused: dict[str, str] = {}
        self.verify_timeout = 30.0

    def scratch(self, **values: Any) -> ScratchCassandra:
        settings = {
            "installation": self.java.installation(),
            "configuration": str(self.node_yaml),
            "address": "127.0.0.1",
            "start_timeout": 30.0,
            "verify_timeout": self.verify_timeout,
            **values,
        }
        return ScratchCassandra(self.path, ScratchSettings(**settings), self.connect)

    def connect(self, address: str, port: int) -> Cql:
        self.connects.append(port)
        if len(self.connects) <= self.unready:
            raise CassandraUnavailable("not yet")
        return Cql(address, port, self.refused)

    def left(self) -> list[str]:
        return sorted(p.name for p in self.path.iterdir() if p.name != "lock")


@pytest.fixture
def scratching(tmp_path: Path) -> Scratching:
    return Scratching(tmp_path)


def test_node_is_started_stopped_and_removed(scratching: Scratching) -> None:
    scratching.unready = 2
    with scratching.scratch().home(never) as home:
        with home.node(never, lenient=False) as cql:
            (call,) = scratching.java.called()
            assert runs(call["pid"])
            assert cql.version() == "5.0.9"
            assert cql.execute("CREATE TABLE x") == ""
            (place,) = scratching.path.glob("scratch-*")
            assert place.stat().st_mode & 0o777 == 0o700
            assert scratching.path.stat().st_mode & 0o777 == 0o700
            assert call["settings"]["native_transport_port"] == scratching.connects[-1]
        assert not runs(call["pid"])
        assert (place / "drained").exists()  # so that its schema is on disk
    assert scratching.left() == []
    assert len(scratching.connects) == 3


def test_statements_that_are_refused(scratching: Scratching) -> None:
    server = 'Error from server: code=2200 [Invalid query] message="SASI is "disabled""'
    scratching.refused |= {"a": server, "b": "Unable to find it"}
    with (
        scratching.scratch().home(never) as home,
        home.node(never, lenient=True) as cql,
    ):
        assert cql.execute("a") == 'SASI is "disabled"'
        assert cql.execute("b") == "Unable to find it"
        with pytest.raises(ScratchFailed, match="does not answer: no answer"):
            cql.execute("hang up")


def test_only_what_a_schema_needs_is_taken_over(scratching: Scratching) -> None:
    node = {
        "partitioner": "RandomPartitioner",
        "materialized_views_enabled": False,
        "enable_sasi_indexes": True,
        "memtable": {"configurations": {"trie": {"class_name": "TrieMemtable"}}},
        "sstable": {"selected_format": "bti"},
        "storage_compatibility_mode": "NONE",
        "cdc_enabled": True,
        "data_file_directories": ["/var/lib/cassandra/data"],
        "commitlog_directory": "/var/lib/cassandra/commitlog",
        "listen_address": "10.0.0.1",
        "native_transport_port_ssl": 9142,
        "authenticator": "PasswordAuthenticator",
        "client_encryption_options": {"enabled": True},
        "seed_provider": [{"class_name": "x"}],
        "hinted_handoff_enabled": True,
        "file_cache_size": "64GiB",
    }
    scratching.node_yaml.write_text(json.dumps(node))
    with scratching.scratch().home(never) as home:
        for lenient in (False, True):
            with home.node(never, lenient=lenient):
                pass
    strict, lenient_ = (call["settings"] for call in scratching.java.called())
    taken = ("partitioner", "enable_sasi_indexes", "memtable", "sstable",
             "storage_compatibility_mode")  # fmt: skip
    for settings in (strict, lenient_):
        assert {name: settings[name] for name in taken} == {name: node[name] for name in taken}
        assert settings["authenticator"] == "AllowAllAuthenticator"
        assert settings["hinted_handoff_enabled"] is False
        assert settings["rpc_address"] == settings["listen_address"] == "127.0.0.1"
        assert not {
            "cdc_enabled", "file_cache_size", "client_encryption_options",
            "native_transport_port_ssl",
        } & set(settings)  # fmt: skip
        text = json.dumps(settings)
        assert "/var/lib" not in text
        assert "10.0.0.1" not in text
        assert settings["cluster_name"].startswith("scratch ")
    assert strict["materialized_views_enabled"] is False
    assert lenient_["materialized_views_enabled"] is True
    assert lenient_["enable_user_defined_functions"] is True
    assert "enable_materialized_views" not in lenient_  # Cassandra refuses both names together


def test_command_of_the_daemon(scratching: Scratching, monkeypatch: Any) -> None:
    monkeypatch.setenv("JVM_EXTRA_OPTS", "-javaagent:of-the-node")
    installation = scratching.java.installation(java_options=("-Xss1m", "@/x"))
    with (
        scratching.scratch(installation=installation).home(never) as home,
        home.node(never, lenient=False),
    ):
        (place,) = scratching.path.glob("scratch-*")
    (call,) = scratching.java.called()
    words = call["words"]
    assert words[:4] == ["-Xss1m", "@/x", "-Xms64M", "-Xmx64M"]
    assert words[-1] == "org.apache.cassandra.service.CassandraDaemon"
    # Its own files come first, also the one that keeps it from archiving commit logs.
    assert words[-2].startswith(f"{place}/conf:")
    assert f"-Dcassandra.storagedir={place}" in words
    assert "JVM_EXTRA_OPTS" not in call["environment"]


def test_cassandra_in_sh_is_read(scratching: Scratching, tmp_path: Path) -> None:
    """It sets Java, its options and the class path, and may ask where it lies."""
    include = tmp_path / "bin" / "cassandra.in.sh"
    include.parent.mkdir()
    class_path = scratching.java.installation().class_path
    include.write_text(
        f'JAVA={scratching.java.java}\nCLASSPATH="{class_path}"\n'
        'JVM_OPTS="-Dhome=$(dirname "$0") -Dvariant=$jvmoptions_variant"\nJAVA_AGENT=-Dagent=1\n'
    )
    installation = scratching.java.installation(class_path="", include=str(include))
    scratch = scratching.scratch(installation=installation)
    with scratch.home(never) as home, home.node(never, lenient=False):
        pass
    (call,) = scratching.java.called()
    assert call["words"][:3] == ["-Dagent=1", f"-Dhome={include.parent}", "-Dvariant=-server"]
    assert call["words"][call["words"].index("-cp") + 1].endswith(f"/conf:{class_path}")


@pytest.mark.parametrize(
    ("values", "named"),
    [
        ({"java": "/nowhere/java"}, r"/nowhere/java is no program; correct \[scratch\] java"),
        ({"class_path": "", "include": "/nowhere/cassandra.in.sh"},
         r"/nowhere/cassandra.in.sh cannot be read; correct \[scratch\] include"),
        ({"class_path": ""}, r"no installed Cassandra was found .*set \[scratch\] include"),
    ],
)  # fmt: skip
def test_installation_that_is_not_there(
    scratching: Scratching, values: dict[str, str], named: str
) -> None:
    installation = scratching.java.installation(**values)
    with (
        scratching.scratch(installation=installation).home(never) as home,
        pytest.raises(ScratchFailed, match=named),
        home.node(never, lenient=False),
    ):
        pass
    assert scratching.left() == []


@pytest.mark.parametrize(
    ("text", "named"),
    [
        (None, r"cannot be read \(No such file.*set \[scratch\] configuration"),
        ("a: [", "is no YAML"),
        ("- a", "is no cassandra.yaml"),
    ],
)
def test_configuration_that_cannot_be_read(
    scratching: Scratching, text: str | None, named: str
) -> None:
    if text is None:
        scratching.node_yaml.unlink()
    else:
        scratching.node_yaml.write_text(text)
    with (
        scratching.scratch().home(never) as home,
        pytest.raises(ScratchFailed, match=named),
        home.node(never, lenient=False),
    ):
        pass


def test_end_of_the_log_is_in_the_error(scratching: Scratching) -> None:
    lines = ["INFO  begin", "ERROR Invalid yaml", "  at org.apache.X", "ERROR Fatal: no room"]
    scratching.java.order(exit=3, log=["x" * 99] * 20 + lines)
    with (
        scratching.scratch().home(never) as home,
        pytest.raises(ScratchFailed) as failed,
        home.node(never, lenient=False),
    ):
        pass
    text = str(failed.value)
    assert text.startswith("the scratch Cassandra ended with 3; the end of its log: ")
    assert text.endswith("INFO begin | ERROR Invalid yaml | ERROR Fatal: no room")
    assert len(text) < 2000


def test_start_is_waited_for_no_longer_than_allowed(scratching: Scratching) -> None:
    scratching.java.order(deaf=True, log=["waiting for what never comes"])
    with (
        scratching.scratch(start_timeout=1.5).home(never) as home,
        pytest.raises(ScratchFailed, match=r"does not answer after 1.5 s.*never comes"),
        home.node(never, lenient=False),
    ):
        pass
    (call,) = scratching.java.called()
    assert not runs(call["pid"])


def test_port_that_was_taken_meanwhile(scratching: Scratching) -> None:
    scratching.java.order(exit=1, log=["BindException: Address already in use"], once=True)
    with scratching.scratch().home(never) as home, home.node(never, lenient=False):
        pass
    first, second = scratching.java.called()
    ports = [call["settings"]["native_transport_port"] for call in (first, second)]
    assert ports[0] != ports[1]


def test_process_that_ignores_the_end_is_killed(scratching: Scratching) -> None:
    scratching.java.order(stubborn=True)
    scratch = scratching.scratch(stop_timeout=0.2)
    with scratch.home(never) as home, home.node(never, lenient=False):
        (call,) = scratching.java.called()
    assert not runs(call["pid"])


def test_cancelling_ends_the_process(scratching: Scratching) -> None:
    scratching.java.order(deaf=True)
    called = threading.Event()

    def cancel() -> None:
        if scratching.java.called():
            called.set()
            raise Cancelled("enough")

    with (
        pytest.raises(Cancelled),
        scratching.scratch().home(never) as home,
        home.node(cancel, lenient=False),
    ):
        pass
    (call,) = scratching.java.called()
    assert not runs(call["pid"])
    assert scratching.left() == []


_DYING = """
import os, sys
from pathlib import Path
from tests.unit.cassandra.scratch.test_scratch import Scratching, never
with Scratching(Path(sys.argv[1])).scratch().home(never) as home, home.node(never, lenient=False):
    os.kill(os.getpid(), 9)
"""


def test_worker_that_dies_leaves_nothing_for_long(scratching: Scratching, tmp_path: Path) -> None:
    """The next one ends the process and removes the files, even before it is asked to verify."""
    dying = [sys.executable, "-c", _DYING, str(tmp_path)]
    died = subprocess.run(dying, timeout=120, cwd=Path(__file__).parents[4])
    assert died.returncode == -9
    (call,) = scratching.java.called()
    assert runs(call["pid"])
    assert len(scratching.left()) == 1
    scratching.scratch().sweep()
    wait_for(lambda: not runs(call["pid"]), deadline=30, what="the end of the process")
    assert scratching.left() == []


def test_foreign_process_with_a_recorded_id_lives(scratching: Scratching) -> None:
    """After a restart of the machine the ID may be that of any process."""
    home = scratching.path / f"scratch-{'a' * 32}"
    home.mkdir(parents=True, mode=0o700)
    scratching.path.chmod(0o700)
    (home / "pid-cassandra").write_text(f"{os.getpid()}\n")
    (home / "pid-verifier").write_text("")
    scratching.scratch().sweep()
    assert scratching.left() == []


def test_sweep_keeps_what_a_live_worker_uses(scratching: Scratching) -> None:
    with scratching.scratch().home(never):
        scratching.scratch().sweep()
        assert len(scratching.left()) == 1
    (scratching.path / "other").mkdir()  # not ours
    scratching.scratch().sweep()
    assert scratching.left() == ["other"]


def test_sweep_before_the_first_use(scratching: Scratching) -> None:
    scratching.scratch().sweep()
    assert not scratching.path.exists()


def test_one_place_at_a_time(scratching: Scratching) -> None:
    waited: list[int] = []

    def give_up() -> None:
        waited.append(1)
        if len(waited) > 1:
            raise Cancelled("enough")

    with (
        scratching.scratch().home(never),
        pytest.raises(Cancelled),
        scratching.scratch().home(give_up),
    ):
        pass
    with (scratching.path / "lock").open("rb") as lock:  # and it is free afterwards
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)


@pytest.mark.parametrize("mode", [0o755, 0o770])
def test_directory_that_others_can_enter(scratching: Scratching, mode: int) -> None:
    scratching.path.mkdir()
    scratching.path.chmod(mode)
    with (
        pytest.raises(ScratchFailed, match="that others cannot enter"),
        scratching.scratch().home(never),
    ):
        pass


def test_directory_that_is_a_link(scratching: Scratching, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir(mode=0o700)
    scratching.path.symlink_to(tmp_path / "elsewhere")
    with (
        pytest.raises(ScratchFailed, match="must be a directory"),
        scratching.scratch().home(never),
    ):
        pass


@pytest.mark.parametrize("address", ["10.0.0.1", "0.0.0.0", "node1"])
def test_address_that_others_can_reach(scratching: Scratching, address: str) -> None:
    with (
        pytest.raises(ScratchFailed, match=f"address is {address}; use a loopback address"),
        scratching.scratch(address=address).home(never),
    ):
        pass


def test_address_that_cannot_be_used(scratching: Scratching) -> None:
    with (
        scratching.scratch(address="::1").home(never) as home,
        pytest.raises(ScratchFailed, match=r"::1 cannot be used.*correct \[scratch\] address"),
        home.node(never, lenient=False),
    ):
        pass


# SSTables


@pytest.fixture
def verify(scratching: Scratching) -> Callable[..., dict[str, str]]:
    """Return a function that verifies SSTables with the given bodies of their Data.db."""

    def verify(raise_if_cancelled: Callable[[], None] = never, **bodies: str) -> dict[str, str]:
        with scratching.scratch().home(never) as home:
            directory = _placed(home, bodies)
            found = home.verify(TABLE, [_name(n) for n in bodies], raise_if_cancelled)
            assert {p.name.partition("-big")[0] for p in directory.iterdir()} == {
                f"nb-{n[1:]}" for n in bodies
            }
        return found

    return verify


def _name(key: str) -> str:
    return f"nb-{key[1:]}-big"


def _placed(home: ScratchPlace, bodies: dict[str, str]) -> Path:
    """Put SSTables where the verifier looks for them."""
    place: Path = home._home
    (place / "data" / "ks" / "t-1").mkdir(parents=True)
    (place / "conf").mkdir()
    both = {"data_file_directories": [str(place / "data"), str(place / "fetched")]}
    (place / "conf" / "verifier.yaml").write_text(json.dumps(both))
    directory = home.directory(TABLE)
    assert directory is not None
    directory.mkdir(parents=True)
    for key, body in bodies.items():
        (directory / f"{_name(key)}-Data.db").write_text(body)
        (directory / f"{_name(key)}-Index.db").write_text(body)
    return directory


Verify = Callable[..., dict[str, str]]


def test_sound_sstables(verify: Verify, scratching: Scratching) -> None:
    assert verify(n1="", n2="") == {}
    (call,) = scratching.java.called()
    program = call["words"][call["words"].index("-cp") + 2 :]
    assert program == [
        "org.apache.cassandra.tools.StandaloneVerifier", "--force", "--extended", "ks", "t",
    ]  # fmt: skip


def test_each_refused_sstable_has_its_cause(verify: Verify) -> None:
    """One that cannot be opened ends the verifier before it looks at the others."""
    assert verify(n1="", n2="load", n3="verify", n4="load", n5="") == {
        "nb-2-big": "Error Loading nb-2-big: Corrupted: nb-2-big-Data.db",
        "nb-3-big": "Corrupt: key is out of order",
        "nb-4-big": "Error Loading nb-4-big: Corrupted: nb-4-big-Data.db",
    }


def test_sstable_that_cassandra_passes_over(verify: Verify) -> None:
    """Without its index Cassandra does not see it, and reports success."""
    assert verify(n1="", n2="unseen") == {"nb-2-big": "a component of it is missing"}


def test_sstable_at_which_the_verifier_dies(verify: Verify) -> None:
    (message,) = verify(n1="", n2="die", n3="").values()
    assert message.startswith("the verifier ended with 3: ")
    assert "OutOfMemoryError: Java heap space" in message


def test_verifier_that_is_killed(verify: Verify) -> None:
    with pytest.raises(ScratchFailed, match=r"killed by signal 9.*\[scratch\] heap"):
        verify(n1="kill")


def test_verifier_that_does_not_end(scratching: Scratching, verify: Verify) -> None:
    scratching.java.order(slow=600)
    scratching.verify_timeout = 1.0
    with pytest.raises(ScratchFailed, match=r"not ended after 1 s; see \[scratch\] verify_timeout"):
        verify(n1="")
    (call,) = scratching.java.called()
    assert not runs(call["pid"])


def test_verifier_is_ended_by_a_cancellation(scratching: Scratching, verify: Verify) -> None:
    scratching.java.order(slow=600)

    def cancel() -> None:
        if scratching.java.called():
            raise Cancelled("enough")

    with pytest.raises(Cancelled):
        verify(cancel, n1="")
    (call,) = scratching.java.called()
    assert not runs(call["pid"])


def test_unknown_table(scratching: Scratching) -> None:
    with scratching.scratch().home(never) as home:
        assert home.directory(TABLE) is None
        with pytest.raises(ScratchFailed, match=r"has no table ks\.t"):
            home.verify(TABLE, ["nb-1-big"], never)
