# SPDX-License-Identifier: Apache-2.0
"""What verifications found damaged, on every database."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from magnetodb_backup.database import Database
from magnetodb_backup.database.findings import FoundBy
from magnetodb_backup.domain.backup.findings import Damage, DamagedObject
from magnetodb_backup.domain.backup.sample import Sample
from magnetodb_backup.domain.backup.status import BackupStatus as S
from magnetodb_backup.errors import InvalidValue
from tests.lab.catalogue import recorded


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


def test_a_sample_replaces_only_what_it_read(database: Database) -> None:
    low, high = "0" * 64, "f" * 64
    sample = Sample.of(50, 0)
    assert (sample.has(low), sample.has(high)) == (True, False)
    _record(database, "v1", "b1", low, high)
    by = FoundBy("v2", "b1", "c")
    database.damaged_packs.record(by, [], read_data=True, sample=sample)
    assert database.damaged_packs.of("c") == {"host": {high: ["v1"]}}
    assert [f.name for f in database.findings.list()] == [high]


def test_what_could_not_be_read_stays(database: Database) -> None:
    _record(database, "v1", "b1", "p")
    database.damaged_packs.record(FoundBy("v2", "b1", "c"), [], read_data=True, unread=["host"])
    assert database.damaged_packs.of("c") == {"host": {"p": ["v1"]}}


def test_whether_a_backup_has_damage(database: Database) -> None:
    _record(database, "v1", "b1", "p")
    assert database.damaged_packs.found_in("b1")
    assert not database.damaged_packs.found_in("b2")
    _record(database, "v2", "b1")
    assert not database.damaged_packs.found_in("b1")


def _names(database: Database, **options: Any) -> list[str]:
    return [f.name for f in database.findings.list(**options)]


def test_findings_are_open_until_no_verification_holds_the_pack_for_damaged(
    database: Database,
) -> None:
    _record(database, "v1", "b1", "p", "q")
    _record(database, "v2", "b2", "p")
    (p, q) = sorted(database.findings.list(), key=lambda f: f.name)
    assert (p.found_in, q.found_in) == (("b1", "b2"), ("b1",))
    assert (p.job_id, p.backup_id, q.job_id) == ("v2", "b2", "v1")
    assert p.first_seen < p.last_seen
    _record(database, "v3", "b1")
    assert _names(database) == ["p"]  # of the second backup nothing else is known
    database.damaged_packs.forget("host", {"p": ["v2"]}, "b3")
    assert _names(database) == []
    healed = {f.name: f.healed_by for f in database.findings.list(healed=True)}
    assert healed == {"p": "b3", "q": "v3"}


def test_findings_by_cluster_and_number(database: Database) -> None:
    _record(database, "v1", "b1", "p")
    by = FoundBy("v2", "b2", "C")
    database.damaged_packs.record(by, damaged("other", "q", "r"), read_data=True)
    assert _names(database) == ["q", "r", "p"]
    assert _names(database, cluster="C") == ["q", "r"]
    assert _names(database, limit=1) == ["q"]
    with pytest.raises(InvalidValue, match="limit is 0"):
        database.findings.list(limit=0)


def test_findings_on_objects_of_a_backup(database: Database) -> None:
    by = FoundBy("v1", "b1", "c")
    manifest = Damage(DamagedObject.MANIFEST, "host", "b1", "manifest", "is gone")
    content = Damage(DamagedObject.MANIFEST, "other", "b1", "content", "ks/t/x")
    schema = Damage(DamagedObject.SCHEMA, "", "b1", "schema", "is gone")
    database.damaged_packs.record(by, [manifest, content, schema], read_data=True)
    assert len(database.findings.list()) == 3
    lost = Damage(DamagedObject.MANIFEST, "", "b1", "manifest", "is gone")
    database.damaged_packs.record(replace(by, job_id="v2"), [lost], read_data=True)
    assert len(database.findings.list()) == 4  # without it nothing else was looked at
    database.damaged_packs.record(replace(by, job_id="v3"), [schema], read_data=False)
    assert {f.problem for f in database.findings.list()} == {"schema", "content"}
    database.damaged_packs.record(replace(by, job_id="v4"), [], read_data=True)
    assert database.findings.list() == ()


def test_many_findings_are_known_again(database: Database) -> None:
    packs = [f"{n:064x}" for n in range(1200)]
    _record(database, "v1", "b1", *packs)
    _record(database, "v2", "b1", *packs[600:])
    assert len(database.findings.list()) == 600
    _record(database, "v3", "b1", *packs)
    found = database.findings.list()
    assert len(found) == 1200
    assert {f.job_id for f in found} == {"v3"}


def test_all_complete_backups_that_need_a_pack(database: Database) -> None:
    first, second = (recorded(database, "c", S.CREATED) for _ in range(2))
    for other in (S.CREATING, S.CREATE_FAILED, S.DELETED):
        backup = recorded(database, "c", other)
        _record(database, "v1", first.id, "p", "q")
        database.damaged_packs.need("c", "host", backup.id, ["p"])
    assert database.damaged_packs.found_by("v1") == {"host": frozenset({"p", "q"})}
    assert database.damaged_packs.found_by("v2") == {}
    for _ in range(2):
        database.damaged_packs.need("c", "host", second.id, ["p", "whole"])
        database.damaged_packs.need("c", "host", first.id, ["p", "q"])
    affected = {f.name: f.affected for f in database.findings.list()}
    assert affected == {"p": (first.id, second.id), "q": (first.id,)}
    assert _of_backup(database, first.id) == ["p", "q"]
    assert _of_backup(database, second.id) == ["p"]
    database.damaged_packs.need("c", "other", second.id, ["q"])  # of another node
    assert _of_backup(database, second.id) == ["p"]
    database.damaged_packs.forget("host", {"p": ["v1"]}, "healer")
    assert _of_backup(database, second.id) == []
    assert [f.affected for f in database.findings.list()] == [(first.id,)]
    _record(database, "v3", first.id, "p")  # damaged again, and needed by others again or not
    assert {f.name: f.affected for f in database.findings.list()} == {"p": ()}


def test_the_findings_on_a_backup_are_few_and_its_own(database: Database) -> None:
    by = FoundBy("v1", "b1", "c")
    schema = Damage(DamagedObject.SCHEMA, "", "b1", "schema", "is gone")
    database.damaged_packs.record(by, [schema, *damaged("host", "p", "q")], read_data=True)
    assert _of_backup(database, "b1") == ["b1", "p", "q"]
    assert len(database.findings.of_backup("b1", limit=2)) == 2
    assert _of_backup(database, "b2") == []


def test_thousands_of_packs_are_needed(database: Database) -> None:
    backup = recorded(database, "c", S.CREATED)
    packs = [f"{n:064x}" for n in range(2500)]
    _record(database, "v1", "b1", *packs)
    database.damaged_packs.need("c", "host", backup.id, packs)
    assert len(database.findings.of_backup(backup.id, limit=9999)) == 2500


def _of_backup(database: Database, backup_id: str) -> list[str]:
    return sorted(f.name for f in database.findings.of_backup(backup_id, limit=10))
