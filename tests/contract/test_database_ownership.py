# SPDX-License-Identifier: Apache-2.0
"""Ownership of jobs and clusters, and the writes that only an owner can commit."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from sqlalchemy import event, text
from sqlalchemy.orm import Session

from magnetodb_backup.database import (
    BackupStore,
    ClusterStore,
    DamagedPackStore,
    Database,
    DeletionStore,
    FindingStore,
    GrowthStore,
    JobStore,
    RestoreStore,
    RetentionStore,
    connect,
)
from magnetodb_backup.database.ownership import FencedTransactions
from magnetodb_backup.database.proofs import ProofStore
from magnetodb_backup.domain.jobs import Fence, Resource
from magnetodb_backup.errors import OwnershipLost
from tests.contract.writes import BEFORE_A_FENCE, READS, WRITES, Owned
from tests.lab.catalogue import adopt
from tests.lab.processes import wait_for

JOB, CLUSTER = Resource.job(str(uuid.uuid4())), Resource.cluster("Größe \N{SNOWMAN}" * 50)
LONG = 3600.0  # seconds; no owner of these tests is silent for so long
NOW = {
    "sqlite": "SELECT strftime('%s', 'now')",
    "mysql": "SELECT UNIX_TIMESTAMP()",
    "postgresql": "SELECT extract(epoch FROM now())",
}


def claimed(database: Database, owner: str = "one", timeout: float = LONG) -> Fence:
    fence = database.ownership.claim([JOB, CLUSTER], owner, timeout=timeout)
    assert fence is not None
    return fence


def refused(database: Database, *resources: Resource, timeout: float = LONG) -> bool:
    return database.ownership.claim(resources, "another", timeout=timeout) is None


def age(database: Database, seconds: float) -> None:
    """Let the last heartbeat of everything owned be so much older."""
    with database._engine.begin() as connection:
        statement = text("UPDATE ownerships SET heartbeat = heartbeat - :seconds")
        connection.execute(statement, {"seconds": seconds})


def heartbeats(database: Database) -> list[float]:
    with database._engine.begin() as connection:
        return [float(r[0]) for r in connection.execute(text("SELECT heartbeat FROM ownerships"))]


def test_what_is_owned_is_not_claimed(database: Database) -> None:
    fence = claimed(database)
    assert fence.owner == "one"
    assert dict(fence.generations) == {JOB: 1, CLUSTER: 1}
    assert refused(database, JOB)
    assert refused(database, CLUSTER)
    assert refused(database, JOB, CLUSTER)
    assert database.ownership.claim([JOB], "one", timeout=LONG) is None
    assert database.ownership.holds(fence)


def test_all_resources_are_claimed_or_none(database: Database) -> None:
    assert database.ownership.claim([CLUSTER], "one", timeout=LONG) is not None
    assert refused(database, JOB, CLUSTER)
    assert database.ownership.claim([JOB], "two", timeout=LONG) is not None


def test_released_resources_are_claimed_at_once(database: Database) -> None:
    first = claimed(database)
    database.ownership.release(first)
    assert not database.ownership.holds(first)
    second = claimed(database, "two")
    assert dict(second.generations) == {JOB: 2, CLUSTER: 2}
    database.ownership.release(first)  # of what another owns now
    assert database.ownership.holds(second)


def test_silent_owner_loses_what_it_owns(database: Database) -> None:
    first = claimed(database)
    age(database, 31)
    assert refused(database, JOB, timeout=40)
    second = claimed(database, "two", timeout=30)
    assert dict(second.generations) == {JOB: 2, CLUSTER: 2}
    assert database.ownership.renew([first, second]) == {first}
    assert not database.ownership.holds(first)


def test_renewed_ownership_lasts(database: Database) -> None:
    fence = claimed(database)
    age(database, 31)
    assert database.ownership.renew([fence]) == frozenset()
    assert refused(database, JOB, timeout=30)
    assert database.ownership.renew([]) == frozenset()


def test_part_of_what_was_claimed_is_lost(database: Database) -> None:
    """A conductor that loses the cluster has lost the job too, even if it is not adopted yet."""
    fence = claimed(database)
    age(database, 31)
    other = database.ownership.claim([CLUSTER], "two", timeout=30)
    assert other is not None
    assert not database.ownership.holds(fence)
    assert database.ownership.renew([fence, other]) == {fence}


def test_heartbeats_have_the_clock_of_the_database(database_url: str) -> None:
    """Clocks of conductors may differ by any time."""
    database = connect(database_url, clock=lambda: 1.0)
    database.sync()
    fence = claimed(database)
    with database._engine.begin() as connection:
        now = connection.exec_driver_sql(NOW[database._engine.dialect.name]).scalar()
    first = heartbeats(database)
    assert all(abs(float(now or 0) - heartbeat) < 60 for heartbeat in first)

    def later() -> bool:
        database.ownership.renew([fence])
        return all(new - old > 0 for new, old in zip(heartbeats(database), first, strict=True))

    wait_for(later, deadline=10, what="another time", interval=0.01)
    assert max(heartbeats(database)) - min(first) < 10
    assert any(heartbeat % 1 for heartbeat in [*first, *heartbeats(database)])
    database.close()


def test_clock_that_is_set_back_keeps_no_job_for_ever(database: Database) -> None:
    claimed(database)
    age(database, -31)
    assert refused(database, JOB, timeout=40)
    assert claimed(database, "two", timeout=30).owner == "two"


def test_one_of_many_claims_succeeds(database: Database) -> None:
    for round_ in range(3):
        barrier = threading.Barrier(8)

        def work(number: int, barrier: threading.Barrier = barrier) -> Fence | None:
            barrier.wait(30)
            return database.ownership.claim([JOB, CLUSTER], f"owner-{number}", timeout=30)

        with ThreadPoolExecutor(8) as pool:
            (won,) = [fence for fence in pool.map(work, range(8)) if fence is not None]
        assert dict(won.generations) == {JOB: round_ + 1, CLUSTER: round_ + 1}
        assert database.ownership.holds(won)
        age(database, 31)


# Writes of stale owners.


@pytest.fixture
def owned(database: Database) -> Owned:
    return Owned(database)


def test_each_method_is_known_to_read_or_to_write() -> None:
    stores = {
        "jobs": JobStore,
        "backups": BackupStore,
        "restores": RestoreStore,
        "damaged_packs": DamagedPackStore,
        "clusters": ClusterStore,
        "findings": FindingStore,
        "growth": GrowthStore,
        "proofs": ProofStore,
        "deletions": DeletionStore,
        "retention": RetentionStore,
    }
    public = {
        f"{name}.{method}"
        for name, store in stores.items()
        for method in vars(store)
        if not method.startswith("_")
    }
    assert public == READS | set(WRITES) | BEFORE_A_FENCE


def test_writes_of_a_stale_owner_are_refused(owned: Owned) -> None:
    first = claimed(owned.database)
    age(owned.database, 31)
    second = claimed(owned.database, "two", timeout=30)
    before = owned.everything()
    for write in WRITES.values():
        with pytest.raises(OwnershipLost, match="no longer owned by one in generation 1"):
            write(owned.database.fenced(first), owned)
    assert owned.everything() == before
    for name, write in WRITES.items():
        write(owned.database.fenced(second), owned)
        after = owned.everything()
        assert after != before, name
        before = after


def test_write_costs_one_statement_more(owned: Owned) -> None:
    statements: list[str] = []

    def record(*of_event: Any) -> None:
        statements.append(of_event[2])

    fenced = owned.database.fenced(claimed(owned.database))
    event.listen(owned.database._engine, "before_cursor_execute", record)
    for name, write in WRITES.items():
        statements.clear()
        write(fenced, owned)
        asked = [s for s in statements if "ownerships" in s and s.lstrip().startswith("SELECT")]
        writes = [s for s in statements if s.split()[0] in ("INSERT", "UPDATE", "DELETE")]
        assert len(asked) == 1, name
        assert writes, name
        assert statements.index(asked[0]) < statements.index(writes[0]), name
    event.remove(owned.database._engine, "before_cursor_execute", record)


def test_owner_that_was_silent_but_not_replaced_writes(owned: Owned) -> None:
    fence = claimed(owned.database)
    age(owned.database, 31)
    owned.database.fenced(fence).backups.update(owned.backup.id, phase="upload")
    assert owned.database.backups.get(owned.backup.id).phase == "upload"


def test_released_fence_writes_nothing(owned: Owned) -> None:
    fence = claimed(owned.database)
    owned.database.ownership.release(fence)
    with pytest.raises(OwnershipLost):
        owned.database.fenced(fence).backups.update(owned.backup.id, phase="upload")


def test_reads_of_a_stale_owner_are_answered(owned: Owned) -> None:
    first = claimed(owned.database)
    owned.database.ownership.release(first)
    claimed(owned.database, "two")
    assert owned.database.fenced(first).backups.get(owned.backup.id) == owned.backup


def test_stale_owner_sees_that_its_job_is_not_current(owned: Owned) -> None:
    job, fence = adopt(owned.database, owned.job.id, "one")
    assert owned.database.fenced(fence).jobs.current(job.id) == job
    adopt(owned.database, owned.job.id, "two")
    with pytest.raises(OwnershipLost):
        owned.database.fenced(fence).jobs.current(job.id)
    assert owned.database.jobs.current(job.id).owner == "two"


def test_claim_waits_for_a_write_that_has_begun(database: Database) -> None:
    """Either the claim sees what was written, or the write is refused: nothing lies between."""
    first, log = claimed(database), []
    begun, go_on = threading.Event(), threading.Event()

    def slow(session: Session) -> None:
        begun.set()
        assert go_on.wait(30)
        log.append("write")

    def adopt() -> None:
        claimed(database, "two", timeout=0)
        log.append("claim")

    with ThreadPoolExecutor(2) as pool:
        transactions = FencedTransactions(database._engine, first)
        writing = pool.submit(transactions.write, slow)
        assert begun.wait(30)
        adopting = pool.submit(adopt)
        with pytest.raises(TimeoutError):
            adopting.result(0.3)
        go_on.set()
        writing.result(30)
        adopting.result(30)
    assert log == ["write", "claim"]
    assert not database.ownership.holds(first)


# Connections that end without a word.

Cut = Iterator[tuple[Database, Callable[[], int]]]


@pytest.fixture(params=["mariadb", "postgresql"])
def idling_out(request: pytest.FixtureRequest) -> Cut:
    """A database whose server ends connections that are idle; and how many there are."""
    server = request.getfixturevalue(request.param)
    url = server.create_database()
    if request.param == "mariadb":
        limited = f"{url}?init_command=SET SESSION wait_timeout=2"
        count = "SELECT count(*) FROM information_schema.processlist WHERE db = :name"
    else:
        limited = f"{url}?options=-c%20idle_session_timeout%3D1000"
        count = "SELECT count(*) FROM pg_stat_activity WHERE datname = :name"
    database, watching = connect(limited), connect(server.url("information_schema" if
        request.param == "mariadb" else "postgres"))  # fmt: skip
    database.sync()

    def connections() -> int:
        with watching._engine.begin() as connection:
            name = {"name": database._engine.url.database}
            return int(connection.execute(text(count), name).scalar() or 0)

    yield database, connections
    database.close()
    watching.close()


def test_connection_that_idles_out_ends_no_ownership(
    idling_out: tuple[Database, Callable[[], int]],
) -> None:
    database, connections = idling_out
    owned, fence = Owned(database), claimed(database)
    made: list[object] = []
    event.listen(database._engine, "connect", lambda connection, record: made.append(record))

    def idle() -> None:
        wait_for(lambda: connections() == 0, deadline=60, what="the end of idle connections")

    for attempt in ("first", "second"):
        idle()
        assert refused(database, JOB, timeout=300)
        idle()
        assert database.ownership.renew([fence]) == frozenset()
        idle()
        database.fenced(fence).backups.update(owned.backup.id, phase=attempt)
        assert database.backups.get(owned.backup.id).phase == attempt
    assert database.ownership.holds(fence)
    assert len(made) >= 6  # each of them found its connection ended
