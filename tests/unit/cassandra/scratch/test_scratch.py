# SPDX-License-Identifier: Apache-2.0
"""A scratch Cassandra is started, asked, stopped and removed, whatever happens meanwhile."""

from __future__ import annotations

import json
import threading
from pathlib import Path
from typing import Any

import pytest

from magnetodb_backup.errors import Cancelled, ScratchFailed
from tests.unit.cassandra.scratch.scratching import Scratching, never, runs


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
