# SPDX-License-Identifier: Apache-2.0
"""Backups that somebody has tampered with: refused by name, before anything is touched.

Who may write to the store can also recompute every digest. So most of these are whole forged
backups, learnt by ``catalogue rebuild`` as after the loss of the database.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import pytest

from tests.faults.bench import TABLES, VICTIM, Bench, Saved
from tests.faults.forging import Documents, Forger
from tests.lab.deployment import Outcome
from tests.lab.processes import wait_for

_REPLACE = ("--existing", "replace")
_HUGE = 1 << 61


@dataclass(frozen=True)
class Case:
    """A change of the documents of a backup; what the refusal must tell.

    ``finish`` are changes of stored bytes that no digest follows, by name; ``{victim}`` in names
    and in ``told`` is the victim's host ID. ``changed_pack`` is what becomes of a pack's bytes.
    """

    told: str
    change: Callable[[Documents, dict[str, Any]], None] = lambda documents, file: None
    finish: Mapping[str, Callable[[bytes], bytes]] | None = None
    changed_pack: Callable[[bytes], bytes] | None = None


def _with(**values: Any) -> Callable[[Documents, dict[str, Any]], None]:
    """Change members of the line of one of the victim's Data.db files."""
    return lambda documents, file: file.update(values)


def _huge(documents: Documents, file: dict[str, Any]) -> None:
    file.update(size=_HUGE, extents=[[file["extents"][0][0], 0, _HUGE]])


def _lost_pack(documents: Documents, file: dict[str, Any]) -> None:
    file["extents"] = [["ab" * 32, 0, file["size"]]]


def _twice(documents: Documents, file: dict[str, Any]) -> None:
    lines = next(lines for lines in documents.nodes.values() if any(x is file for x in lines))
    lines.insert(1, {**file})


def _newer_node_manifest(documents: Documents, file: dict[str, Any]) -> None:
    for lines in documents.nodes.values():
        lines[0]["format"] = 2


def _other_column(documents: Documents, file: dict[str, Any]) -> None:
    assert "text text" in documents.schema
    documents.schema = documents.schema.replace("text text", "text blob")


_CASES = {
    "path": Case("is not a plain file name", _with(name="../../../nb-1-big-Data.db")),
    "absolute path": Case("is not a plain file name", _with(name="/tmp/nb-1-big-Data.db")),
    "path of a keyspace": Case("'../../x' is not a keyspace name", _with(keyspace="../../x")),
    "huge size": Case(f"needs {_HUGE}", _huge),
    "digest": Case("the manifest says " + "cd" * 32, _with(sha256="cd" * 32)),
    "file twice": Case("has two files for", _twice),
    "lost pack": Case("pack " + "ab" * 32 + ": missing", _lost_pack),
    "changed pack": Case(
        "its bytes come from pack", changed_pack=lambda body: bytes([body[0] ^ 1]) + body[1:]
    ),
    "short pack": Case("bytes, needs", changed_pack=lambda body: body[:-1]),
    "format of a node manifest": Case("has format version 2", _newer_node_manifest),
    "other column": Case("the schema differs", _other_column),
    "schema changed later": Case(
        "it was changed after the backup", finish={"schema.cql": lambda body: body + b"\n"}
    ),
    "node manifest changed later": Case(
        "the node manifest of {victim} has SHA-256",
        finish={"nodes/{victim}.jsonl.zst": lambda body: body + b"\0"},
    ),
    "backup manifest changed later": Case(
        "the catalogue knows", finish={"manifest.json": lambda body: body + b"\n"}
    ),
    "backup manifest of another format": Case(
        "has format version 9",
        finish={"manifest.json": lambda body: body.replace(b'"format": 1', b'"format": 9')},
    ),
}


@pytest.fixture(scope="module")
def forger(running: Bench, saved: Saved) -> Forger:
    return Forger(running.rig.reader, saved.id)


@pytest.fixture(scope="module")
def forged(running: Bench, saved: Saved, forger: Forger) -> dict[str, str]:
    """The ID of the forged backup of each case, all known to the catalogue."""
    victim = running.deployment.nodes[VICTIM].host_id
    made = {}
    for name, case in _CASES.items():

        def change(documents: Documents, case: Case = case) -> None:
            file = next(
                f for f in documents.files(victim)
                if f["name"].endswith("-Data.db") and f["table"] == "b"
            )  # fmt: skip
            case.change(documents, file)
            if case.changed_pack is not None:
                pack = file["extents"][0][0]
                forged = forger.put_pack(victim, pack, case.changed_pack)
                for line in documents.files(victim):
                    for extent in line["extents"]:
                        extent[0] = forged if extent[0] == pack else extent[0]

        made[name] = forger.forge(change)
    learnt = running.deployment.manage("catalogue", "rebuild")
    assert learnt.code == 0, learnt.err
    for name, case in _CASES.items():
        for object_, finish in (case.finish or {}).items():
            forger.finish(made[name], object_.format(victim=victim), finish)
    return made


@pytest.fixture(scope="module")
def outcomes(running: Bench, forged: dict[str, str]) -> dict[str, Outcome]:
    """How the restores ended; they do not run at once, but nobody waits for each."""
    before, keyspaces = running.fingerprint(), running.keyspaces()
    logs = {p.log: p.log.stat().st_size for p in running.deployment.processes()}
    with ThreadPoolExecutor(3) as pool:
        begun = {
            name: pool.submit(
                running.deployment.manage, "restore", "create", backup, *_REPLACE, "--no-wait"
            )
            for name, backup in forged.items()
        }
        ids = {name: str(future.result().json["id"]) for name, future in begun.items()}
        wait_for(lambda: not running.deployment.running_restores(), deadline=600, what="no restore")
        shown = {
            name: pool.submit(running.deployment.manage, "restore", "show", restore)
            for name, restore in ids.items()
        }
    assert running.fingerprint() == before
    assert running.keyspaces() == keyspaces
    running.deployment.remove_kept()  # of those that failed in the download
    assert running.deployment.staged() == []
    for log, size in logs.items():
        assert "Traceback" not in log.read_text()[size:]
    return {name: future.result() for name, future in shown.items()}


@pytest.mark.parametrize("name", _CASES)
def test_refused_before_anything_is_touched(
    bench: Bench, outcomes: dict[str, Outcome], name: str
) -> None:
    record = outcomes[name].json
    victim = bench.deployment.nodes[VICTIM].host_id
    assert record["status"] == "RESTORE_FAILED"
    assert _CASES[name].told.format(victim=victim) in record["error"]
    assert set(record["tables"].values()) <= {"untouched"}
    assert "Traceback" not in record["error"] + outcomes[name].err


def test_refusal_as_its_user_sees_it(bench: Bench, forged: dict[str, str]) -> None:
    outcome = bench.restore(forged["path"], *_REPLACE)
    assert outcome.code == 1
    assert outcome.json["error"] in outcome.err
    assert "Traceback" not in outcome.err


def test_link_in_the_place_of_the_staging(bench: Bench, saved: Saved, tmp_path: Any) -> None:
    before = bench.fingerprint()
    link = bench.deployment.nodes[VICTIM].data_directories[1] / ".magnetodb-backup"
    if link.exists():
        link.rmdir()
    link.symlink_to(tmp_path)
    try:
        outcome = bench.restore(saved.id, *_REPLACE)
    finally:
        link.unlink()
    assert outcome.code == 1
    assert f"{link} is a symbolic link; remove it" in outcome.err
    assert list(tmp_path.iterdir()) == []
    assert bench.fingerprint() == before


def test_what_is_no_schema_is_not_executed(bench: Bench, saved: Saved, forger: Forger) -> None:
    def change(documents: Documents) -> None:
        documents.schema = (
            "DROP KEYSPACE system_traces;\nCREATE ROLE intruder WITH SUPERUSER = true;\n"
            f"{documents.schema}\nTRUNCATE TABLE {TABLES[0]};\n"
        )

    keyspaces = bench.keyspaces()
    backup = forger.forge(change)
    bench.deployment.manage("catalogue", "rebuild")
    outcome = bench.restore(backup, *_REPLACE)
    assert outcome.code == 0, outcome.err
    assert bench.rows() == saved.rows
    assert bench.keyspaces() == keyspaces
    assert not any("intruder" in role for role in bench.query("SELECT role FROM system_auth.roles"))
