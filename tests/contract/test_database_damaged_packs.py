# SPDX-License-Identifier: Apache-2.0
"""What verifications found damaged, on every database."""

from __future__ import annotations

from magnetodb_backup.database import Database
from magnetodb_backup.database.findings import FoundBy
from magnetodb_backup.domain.backup.findings import Damage, DamagedObject


def damaged(host_id: str, *packs: str) -> list[Damage]:
    return [Damage(DamagedObject.PACK, host_id, pack, "corrupt", "why") for pack in packs]


def _record(
    database: Database, verification: str, backup: str, *packs: str, read_data: bool = True
) -> None:
    by = FoundBy(verification, backup, "c")
    database.damaged_packs.record(by, damaged("host", *packs), read_data=read_data)


def test_findings_by_node_and_pack(database: Database) -> None:
    _record(database, "v1", "b1", "p", "q")
    _record(database, "v2", "b2", "q")
    by = FoundBy("v3", "b3", "C")
    database.damaged_packs.record(by, damaged("other", "p"), read_data=True)
    assert database.damaged_packs.of("c") == {"host": {"p": ["v1"], "q": ["v1", "v2"]}}
    assert database.damaged_packs.of("C") == {"other": {"p": ["v3"]}}


def test_a_verification_that_read_everything_replaces_those_of_its_backup(
    database: Database,
) -> None:
    _record(database, "v1", "b1", "p", "q")
    _record(database, "v2", "b2", "p")
    _record(database, "v3", "b1", "r", read_data=False)
    assert sorted(database.damaged_packs.of("c")["host"]) == ["p", "q", "r"]
    _record(database, "v4", "b1", "q")
    assert database.damaged_packs.of("c") == {"host": {"p": ["v2"], "q": ["v4"]}}
    _record(database, "v4", "b1", "q")
    assert database.damaged_packs.of("c") == {"host": {"p": ["v2"], "q": ["v4"]}}


def test_an_upload_ends_the_findings_that_it_knew_of(database: Database) -> None:
    for verification, backup in (("v1", "b1"), ("v2", "b2"), ("v3", "b3")):
        _record(database, verification, backup, "p", "q")
    database.damaged_packs.forget("host", {"p": ["v1", "v2"], "q": []}, "b")
    database.damaged_packs.forget("other", {"q": ["v1"]}, "b")
    database.damaged_packs.forget("host", {}, "b")
    found = database.damaged_packs.of("c")["host"]
    assert {pack: sorted(v) for pack, v in found.items()} == {"p": ["v3"], "q": ["v1", "v2", "v3"]}


def test_thousands_of_findings(database: Database) -> None:
    packs = [f"{n:064x}" for n in range(2500)]
    _record(database, "v1", "b1", *packs, *packs)
    assert len(database.damaged_packs.of("c")["host"]) == 2500
