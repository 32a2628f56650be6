# SPDX-License-Identifier: Apache-2.0
"""SSTables that Cassandra's verifier reads."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from magnetodb_backup.cassandra.scratch.scratch import ScratchPlace
from magnetodb_backup.errors import Cancelled, ScratchFailed
from tests.unit.cassandra.scratch.scratching import TABLE, Scratching, never, runs


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
