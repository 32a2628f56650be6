# SPDX-License-Identifier: Apache-2.0
"""Damage behind our back: in the store, and on Cassandra's disks."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any

import pytest

from tests.functional.comparing import compare
from tests.functional.sample import make_table
from tests.lab.rig import Rig

_SELECTION = ("--keyspace", "faults")


def _pack_of(rig: Rig, backup: dict[str, Any]) -> tuple[tuple[str, str], str]:
    """Return container and name of a pack, and the name of a Data.db in it."""
    for line in rig.reader.lines(backup["id"]):
        if line.data["name"].endswith("-Data.db"):
            return rig.reader.pack(line.key[0], line.data["extents"][0][0]), line.data["name"]
    raise AssertionError("no Data.db in the backup")


def _delete(rig: Rig, where: tuple[str, str]) -> None:
    rig.reader.store.delete(*where)


def _lose(rig: Rig, where: tuple[str, str]) -> None:
    """Remove the object's file below the object server: the container still lists the object."""
    pack = where[1].rpartition("/")[2]
    files = rig.swift.data_directory.glob("*/objects/**/*.data")
    (file,) = (f for f in files if hashlib.sha256(f.read_bytes()).hexdigest() == pack)
    file.unlink()


def _truncate(rig: Rig, where: tuple[str, str]) -> None:
    rig.reader.store.put(*where, rig.reader.store.get(*where)[:-1])


def _alter(rig: Rig, where: tuple[str, str]) -> None:
    body = rig.reader.store.get(*where)
    rig.reader.store.put(*where, bytes([body[0] ^ 1]) + body[1:])


def _affected_by(rig: Rig, pack: str) -> list[str]:
    """Return the IDs of the backups that an open finding on a pack affects."""
    findings = rig.deployment.manage("repository", "findings").json
    return [b["id"] for f in findings if f["name"] == pack for b in f["backups"]]


@pytest.mark.parametrize(
    ("damage", "kind", "options"),
    [
        (_lose, "missing", ()),
        pytest.param(_delete, "missing", (), marks=pytest.mark.nightly),
        # unit/repository/test_verify proves each kind.
        pytest.param(_truncate, "size", (), marks=pytest.mark.nightly),
        (_alter, "corrupt", ("--read-data",)),
    ],
    ids=["lost", "deleted", "cut", "altered"],
)
def test_damaged_pack_is_found_and_healed(
    broken: Rig,
    damage: Callable[[Rig, tuple[str, str]], None],
    kind: str,
    options: tuple[str, ...],
) -> None:
    first = broken.created(*_SELECTION)
    content = broken.reader.content(first["id"])
    where, name = _pack_of(broken, first)
    damage(broken, where)
    verified = broken.deployment.manage("backup", "verify", first["id"], *options)
    assert verified.code == 1, verified.out
    (problem,) = verified.json["problems"]
    pack = where[1].rpartition("/")[2]
    assert (problem["kind"], problem["pack"]) == (kind, pack)
    assert any(path.endswith(name) for path in problem["files"])
    assert pack in verified.err
    assert "make a new backup" in verified.err
    assert first["id"] in _affected_by(broken, pack)
    if kind == "missing":
        planned = broken.deployment.restore(first["id"], "--dry-run", "--existing", "replace")
        assert f"pack {pack}: missing" in planned.out + planned.err
    second = broken.created(*_SELECTION)
    assert sum(node["packs_replaced"] for node in second["nodes"]) == 1
    assert _affected_by(broken, pack) == []
    compare(broken, second, ["faults.t"])
    for backup in (first, second):
        again = broken.deployment.manage("backup", "verify", backup["id"], "--read-data")
        assert again.code == 0, again.err
    assert broken.reader.content(first["id"]) == content
    third = broken.created(*_SELECTION)
    assert sum(node["packs_replaced"] for node in third["nodes"]) == 0


def test_corrupt_sstable(broken: Rig) -> None:
    """Cassandra's Digest.crc32 tells, while the file is read."""
    make_table(broken, "rotten.t")
    try:
        broken.insert("rotten.t", range(200))
        broken.flush("rotten")
        node = broken.deployment.nodes[1]
        victim = next(p for d in node.data_directories for p in d.glob("rotten/t-*/*-Data.db"))
        with victim.open("r+b") as file:
            first = file.read(1)
            file.seek(0)
            file.write(bytes([first[0] ^ 0xFF]))
        error = broken.failed("--keyspace", "rotten")
        assert node.address in error
        assert victim.name in error
        assert "does not match its Digest.crc32; repair it with nodetool scrub" in error
        marked = broken.deployment.backup("--keyspace", "rotten", "--on-corrupt", "mark")
        assert marked.code == 3, marked.err
        assert marked.json["status"] == "PARTIAL"
        named = [f for n in marked.json["nodes"] for f in n["corrupt_files"]]
        assert [f.rpartition("/")[2] for f in named] == [victim.name]
        lines = [x for x in broken.reader.lines(marked.json["id"]) if x.data.get("corrupt")]
        assert [line.data["name"] for line in lines] == [victim.name]
        compare(broken, marked.json, ["rotten.t"])
    finally:
        broken.execute("DROP KEYSPACE rotten")
