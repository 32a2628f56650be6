# SPDX-License-Identifier: Apache-2.0
"""The schema's revisions, on every database."""

from __future__ import annotations

import json
import threading
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import MetaData, Table, inspect, text

from magnetodb_backup.database import Database, connect, migrations
from magnetodb_backup.database.models import Base
from magnetodb_backup.database.session import make_engine
from magnetodb_backup.domain.backup.records import BackupRequest
from magnetodb_backup.domain.jobs import Subject
from magnetodb_backup.domain.schedule.actions import Action
from magnetodb_backup.errors import Conflict, InvalidValue

BACKUP_ID = "11111111-1111-4111-8111-111111111111"


def test_from_empty_and_again(database_url: str) -> None:
    database = connect(database_url)
    assert database.version() is None
    with pytest.raises(InvalidValue, match=r"at version none.*magnetodb-backup-manage db sync"):
        database.check()
    database.sync()
    database.check()
    assert database.version() == database.expected_version()
    kept = database.backups.create(BackupRequest({"type": "all"}), BACKUP_ID, "c")
    database.sync()
    database.check()
    assert database.backups.get(BACKUP_ID) == kept
    database.close()


def test_migrated_schema_is_that_of_the_models(database: Database, database_url: str) -> None:
    engine = make_engine(database_url)
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, Base.metadata) == []
    found = inspect(engine)
    assert set(found.get_table_names()) == {*Base.metadata.tables, "alembic_version"}
    for name, table in Base.metadata.tables.items():
        assert {i["name"] for i in found.get_indexes(name)} == {i.name for i in table.indexes}
        nullable = {c["name"]: c["nullable"] for c in found.get_columns(name)}
        assert nullable == {c.name: bool(c.nullable) for c in table.columns}
    engine.dispose()


def test_upgrade_from_each_older_revision(database_url: str) -> None:
    """What an older version of the service wrote is there afterwards."""
    database = connect(database_url)
    scripts = ScriptDirectory(str(Path(migrations.__file__).parent))
    revisions = [script.revision for script in scripts.walk_revisions()][::-1]
    for number, older in enumerate(revisions[:-1]):
        _upgrade_to(database_url, older)
        if number == 0:
            _insert_as_then(database_url)
        with pytest.raises(InvalidValue, match=f"at version {older}.*run .* db sync"):
            database.check()
    database.sync()
    database.check()
    kept = database.backups.get(BACKUP_ID)
    assert (kept.name, kept.files, kept.scope) == ("old", 7, {"type": "all"})
    assert kept.figures is False
    assert database.restores.list() == ()
    database.close()


def test_unfinished_jobs_of_an_older_version_continue(database_url: str) -> None:
    """Their subject was always a backup; that of a restore is the restore now."""
    _upgrade_to(database_url, "0003")
    _insert_as_then(database_url)
    engine, then = make_engine(database_url), datetime(2026, 11, 29)
    restore_id = "22222222-2222-4222-8222-222222222222"
    ids = {"backup": "job-1", "verification": "job-2", "restore": restore_id}
    with engine.begin() as connection:
        jobs = Table("jobs", MetaData(), autoload_with=connection)
        steps = Table("job_steps", MetaData(), autoload_with=connection)
        for kind, job_id in ids.items():
            values = {
                "id": job_id, "kind": kind, "backup_id": BACKUP_ID, "cluster": "c",
                "status": "RUNNING", "created_at": then, "updated_at": then,
                "parameters": json.dumps({"backup_id": BACKUP_ID} if kind == "restore" else {}),
                "error": "", "error_code": "", "round": 2, "cancel_requested": False,
                "owner": "host:1",
            }  # fmt: skip
            connection.execute(jobs.insert().values(values))
        step = {"job_id": "job-1", "round": 2, "name": "census", "result": "{}"}
        connection.execute(steps.insert().values(**step, finished_at=then))
    engine.dispose()
    database = connect(database_url)
    database.sync()
    found = {job.kind: job for job in database.jobs.unfinished()}
    assert {kind: job.id for kind, job in found.items()} == ids
    assert {job.backup_id for job in found.values()} == {BACKUP_ID}
    assert found["restore"].subject == Subject.restore(restore_id)
    assert found["backup"].subject == found["verification"].subject == Subject.backup(BACKUP_ID)
    for job in found.values():
        claimed = database.jobs.claim(job.id, "new", timeout=30)
        assert claimed is not None
        assert (claimed[0].round, claimed[0].owner) == (2, "new")
    assert set(database.jobs.step_results("job-1", 2)) == {"census"}
    database.close()


def test_errors_of_complete_backups_become_notes(database_url: str) -> None:
    """Older versions stored what a complete backup lacks as its error."""
    _upgrade_to(database_url, "0005")
    lacks, why = "without the nodes n1; 2 corrupt files", "the disk of n1 is full"
    texts = {"CREATED": lacks, "PARTIAL": lacks, "CREATE_FAILED": why, "DELETED": ""}
    for status, error in texts.items():
        _insert_as_then(database_url, id=f"id-{status}", status=status, error=error)
    database = connect(database_url)
    database.sync()
    found = {
        b.status.value: (b.error, b.notes) for b in database.backups.list(include_deleted=True)
    }
    assert found == {
        "CREATED": ("", (lacks,)),
        "PARTIAL": ("", (lacks,)),
        "CREATE_FAILED": (why, ()),
        "DELETED": ("", ()),
    }
    database.close()


def test_damage_that_was_found_before_is_known(database_url: str) -> None:
    """It was in the results of verifications, and void by those of later ones and of uploads."""
    _upgrade_to(database_url, "0006")
    _insert_job(database_url, 1, "one", {"read_data": True, "problems": _problems("a", "b", "c")})
    _insert_job(database_url, 2, "two", {"read_data": True, "problems": _problems("x")})
    _insert_job(database_url, 3, "one", {"read_data": True, "problems": _problems("a", "b")})
    further = {"h2": ["y"]}
    _insert_job(database_url, 4, "one", {"read_data": False, "problems": _problems("", "z")})
    _insert_job(database_url, 5, "two", {"problems": [], "further_packs": further})
    replaced = {"a": ["verification-1", "verification-3"], "x": ["verification-1"]}
    engine = make_engine(database_url)
    with engine.begin() as connection:
        steps = Table("job_steps", MetaData(), autoload_with=connection)
        result = json.dumps({"results": {"h1": {"replaced": replaced}, "h2": {}}, "failed": {}})
        values = {"job_id": "job", "round": 1, "name": "upload", "result": result}
        connection.execute(steps.insert().values(**values, finished_at=datetime(2026, 11, 29)))
    engine.dispose()
    database = connect(database_url)
    database.sync()
    assert database.damaged_packs.of("c") == {
        "h1": {"b": ["verification-3"], "x": ["verification-2"], "z": ["verification-4"]},
        "h2": {"y": ["verification-5"]},
    }
    database.close()


def test_packs_that_are_damaged_are_findings(database_url: str) -> None:
    """Verifications have found them; the record of one of these may be gone."""
    _upgrade_to(database_url, "0010")
    for number in (1, 2):
        _insert_job(database_url, number, f"b{number}", {})
    engine = make_engine(database_url)
    with engine.begin() as connection:
        packs = Table("damaged_packs", MetaData(), autoload_with=connection)
        for pack, number in (("p", 1), ("p", 2), ("q", 1), ("r", 3)):
            values = {
                "host_id": "h", "pack": pack, "verification_id": f"verification-{number}",
                "backup_id": f"b{number}", "cluster": "c",
            }  # fmt: skip
            connection.execute(packs.insert().values(values))
    engine.dispose()
    database = connect(database_url)
    database.sync()
    found = {f.name: f for f in database.findings.list()}
    assert set(found) == {"p", "q", "r"}
    p = found["p"]
    assert (p.first_seen.day, p.last_seen.day) == (1, 2)
    assert (p.job_id, p.backup_id, p.found_in) == ("verification-2", "b2", ("b1", "b2"))
    assert (p.problem, p.host_id, p.cluster, p.healed_at) == ("damaged", "h", "c", None)
    database.damaged_packs.forget("h", {"q": ["verification-1"]}, "b4")
    assert {f.name for f in database.findings.list()} == {"p", "r"}
    database.close()


def test_what_running_restores_waited_for_is_no_error(database_url: str) -> None:
    _upgrade_to(database_url, "0008")
    engine, then = make_engine(database_url), datetime(2026, 11, 29)
    texts = {"RESTORING": "waits for backup b", "RESTORE_FAILED": "the disk is full"}
    with engine.begin() as connection:
        restores = Table("restores", MetaData(), autoload_with=connection)
        for status, error in texts.items():
            values = {
                "id": status, "cluster": "c", "status": status, "created_at": then,
                "updated_at": then, "phase": "", "error": error, "backup_id": BACKUP_ID,
                "source_cluster": "c", "request": json.dumps({"backup_id": BACKUP_ID}),
                "tables": "{}",
            }  # fmt: skip
            connection.execute(restores.insert().values(values))
    engine.dispose()
    database = connect(database_url)
    database.sync()
    found = {r.id: (r.error, r.waiting_for) for r in database.restores.list()}
    assert found == {
        "RESTORING": ("", "waits for backup b"),
        "RESTORE_FAILED": ("the disk is full", ""),
    }
    database.close()


def test_what_was_deleted_before_has_nothing_in_the_store(database_url: str) -> None:
    """Its manifests were removed at once: it is neither undeleted nor purged."""
    _upgrade_to(database_url, "0010")
    _insert_as_then(database_url, status="DELETED", manifest_sha256="0" * 64)
    database = connect(database_url)
    database.sync()
    kept = database.backups.get(BACKUP_ID)
    assert (kept.deleted_at, kept.undelete_until, kept.purged_at) == (None, None, None)
    assert database.deletions.due("c") == ()
    with pytest.raises(Conflict, match=f"{BACKUP_ID} cannot be undeleted: an older release"):
        database.deletions.request_undeletion(BACKUP_ID)
    database.close()


def test_settings_that_exist_have_to_be_copied(database_url: str) -> None:
    _upgrade_to(database_url, "0015")
    engine, then = make_engine(database_url), datetime(2026, 11, 29, 1, 2, 3, 4)
    _insert_as_then(database_url)
    ids = ["22222222-2222-4222-8222-222222222222", "33333333-3333-4333-8333-333333333333"]
    times = {"created_at": then, "updated_at": then}
    policy = dict.fromkeys(("redundancy", "window_days", "daily", "weekly", "monthly"), 1)
    policy |= {"yearly": 1, "floor": 1, "failed_days": 1}
    timing = {"cron": "0 2 * * *", "zone": "UTC", "jitter": 0, "begin_within": 60}
    timing |= {"overlap": "queue", "missed": "run", "planned_until": then}
    rows: dict[str, list[dict[str, Any]]] = {
        "backups": [],
        "schedules": [
            {"id": ids[0], "cluster": "c", "status": "ACTIVE", "name": "nightly", **times,
             **timing, "backup": '{"scope":{"type":"all"}}'},
        ],
        "retention_policies": [
            {"id": ids[1], "cluster": "d", "time_zone": "UTC", **policy, **times},
        ],
    }  # fmt: skip
    with engine.begin() as connection:
        tables = {name: Table(name, MetaData(), autoload_with=connection) for name in rows}
        for name, values in rows.items():
            for row in values:
                connection.execute(tables[name].insert().values(row))
        backups = tables["backups"]
        kept = backups.update().where(backups.c.id == BACKUP_ID)
        connection.execute(kept.values(kept_reason="audit", kept_at=then))
    engine.dispose()
    _insert_as_then(database_url, id="not kept")
    database = connect(database_url)
    database.sync()
    found = {copy.key.kind.value: copy for copy in database.settings.pending(10)}
    keys = {kind: (copy.key.subject, copy.key.cluster) for kind, copy in found.items()}
    assert keys == {"schedule": (ids[0], "c"), "policy": ("d", "d"), "mark": (BACKUP_ID, "c")}
    assert len(found) == len(database.settings.pending(10))
    assert {copy.changed_at for copy in found.values()} == {then.replace(tzinfo=timezone.utc)}
    assert all(copy.setting is not None for copy in found.values())
    database.close()


def _problems(*packs: str) -> list[dict[str, str]]:
    return [{"host_id": "h1", "kind": "corrupt", "pack": pack, "detail": ""} for pack in packs]


def _insert_job(database_url: str, number: int, backup_id: str, result: Any) -> None:
    engine, then = make_engine(database_url), datetime(2026, 11, number)
    values = {
        "id": f"verification-{number}", "kind": "verification", "subject_kind": "backup",
        "subject_id": backup_id, "cluster": "c", "status": "DONE", "created_at": then,
        "updated_at": then, "parameters": "{}", "result": json.dumps(result), "error": "",
        "error_code": "", "round": 1, "cancel_requested": False, "owner": "",
    }  # fmt: skip
    with engine.begin() as connection:
        jobs = Table("jobs", MetaData(), autoload_with=connection)
        connection.execute(jobs.insert().values(values))
    engine.dispose()


def _insert_as_then(database_url: str, **others: str) -> None:
    """Insert a backup with the columns that its table has now."""
    engine = make_engine(database_url)
    then = datetime(2024, 5, 6)
    values = {
        "id": BACKUP_ID, "name": "old", "cluster": "c", "status": "CREATED",
        "scope": '{"type":"all"}', "type": "full", "allow_partial": False, "on_corrupt": "fail",
        "created_at": then, "updated_at": then, "phase": "", "error": "", "files": 7, "bytes": 0,
        "bytes_uploaded": 0, "bytes_reused": 0, "manifest_sha256": "", **others,
    }  # fmt: skip
    with engine.begin() as connection:
        backups = Table("backups", MetaData(), autoload_with=connection)
        connection.execute(backups.insert().values(values))
    engine.dispose()


def _upgrade_to(database_url: str, revision: str) -> None:
    engine = make_engine(database_url)
    config = Config()
    config.set_main_option("script_location", str(Path(migrations.__file__).parent))
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, revision)
    engine.dispose()


def _set_version(database_url: str, version: str) -> None:
    engine = make_engine(database_url)
    with engine.begin() as connection:
        statement = text("UPDATE alembic_version SET version_num = :version")
        connection.execute(statement, {"version": version})
    engine.dispose()


def test_newer_revision_is_refused(database: Database, database_url: str) -> None:
    _set_version(database_url, "9999")
    named = rf"at version 9999, which.*needs {database.expected_version()}.*install the newer"
    for refused in (database.check, database.sync):
        with pytest.raises(InvalidValue, match=named):
            refused()
    assert database.version() == "9999"


def _upgrade_at_the_same_time(database_url: str, count: int = 4) -> list[Exception]:
    failures: list[Exception] = []
    barrier = threading.Barrier(count)

    def upgrade() -> None:
        database = connect(database_url)
        barrier.wait(30)
        try:
            database.sync()
            database.check()
        except Exception as error:  # noqa: BLE001
            failures.append(error)
        database.close()

    threads = [threading.Thread(target=upgrade) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return failures


def test_upgrades_at_the_same_time(database_url: str) -> None:
    assert _upgrade_at_the_same_time(database_url) == []


def test_new_sqlite_files_opened_and_closed_at_the_same_time(tmp_path: Path) -> None:
    """SQLite's own waiting does not cover the journal's coming and going."""
    for number in range(40):
        assert _upgrade_at_the_same_time(f"sqlite:///{tmp_path}/{number}.sqlite") == []


def test_schedules_of_an_older_version_make_backups(database_url: str) -> None:
    _upgrade_to(database_url, "0015")
    engine, then = make_engine(database_url), datetime(2026, 11, 29)
    with engine.begin() as connection:
        schedules = Table("schedules", MetaData(), autoload_with=connection)
        values = {
            "id": BACKUP_ID, "cluster": "c", "status": "ACTIVE", "created_at": then,
            "updated_at": then, "name": "nightly", "cron": "0 2 * * *", "zone": "UTC",
            "jitter": 0, "begin_within": 3600, "finish_within": None, "overlap": "queue",
            "missed": "run", "backup": '{"scope":{"type":"all"}}', "planned_until": then,
        }  # fmt: skip
        connection.execute(schedules.insert().values(values))
    engine.dispose()
    database = connect(database_url)
    database.sync()
    found = database.schedules.get(BACKUP_ID)
    assert (found.action, found.verify, found.retention) == (Action.BACKUP, None, None)
    run = database.scheduling.run_now(BACKUP_ID)
    assert database.backups.get(run.backup_id).scope == {"type": "all"}
    database.close()
