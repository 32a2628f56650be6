# SPDX-License-Identifier: Apache-2.0
"""The database: an index of backups that can be rebuilt from the store, and the jobs."""

from __future__ import annotations

from collections.abc import Callable

from magnetodb_backup.database import migration
from magnetodb_backup.database.backups import BackupStore
from magnetodb_backup.database.clusters import ClusterStore
from magnetodb_backup.database.damaged_packs import DamagedPackStore
from magnetodb_backup.database.deletions import DeletionStore
from magnetodb_backup.database.findings import FindingStore
from magnetodb_backup.database.growth import GrowthStore
from magnetodb_backup.database.jobs import JobStore
from magnetodb_backup.database.nodes import NodeStore
from magnetodb_backup.database.ownership import FencedTransactions, OwnershipStore
from magnetodb_backup.database.proofs import ProofStore
from magnetodb_backup.database.pruning import PruningStore
from magnetodb_backup.database.restores import RestoreStore
from magnetodb_backup.database.retention import RetentionStore
from magnetodb_backup.database.schedules import ScheduleStore
from magnetodb_backup.database.scheduling import SchedulingStore
from magnetodb_backup.database.session import Transactions, database_errors, make_engine
from magnetodb_backup.database.settings import SettingStore
from magnetodb_backup.domain.jobs import Fence
from magnetodb_backup.errors import InvalidValue

__all__ = [
    "BackupStore",
    "ClusterStore",
    "DamagedPackStore",
    "Database",
    "DeletionStore",
    "FindingStore",
    "GrowthStore",
    "JobStore",
    "NodeStore",
    "OwnershipStore",
    "ProofStore",
    "PruningStore",
    "RestoreStore",
    "RetentionStore",
    "ScheduleStore",
    "SchedulingStore",
    "SettingStore",
    "connect",
]


class Database:
    """The stores over one engine."""

    def __init__(self, transactions: Transactions, clock: Callable[[], float] | None) -> None:
        self._engine, self._clock = transactions.engine, clock
        self.backups = BackupStore(transactions)
        self.clusters = ClusterStore(transactions)
        self.deletions = DeletionStore(transactions, clock)
        self.jobs = JobStore(transactions)
        self.proofs = ProofStore(transactions)
        self.pruning = PruningStore(transactions, clock)
        self.restores = RestoreStore(transactions)
        self.schedules = ScheduleStore(transactions, clock)
        self.scheduling = SchedulingStore(transactions, clock)
        self.retention = RetentionStore(transactions)
        self.settings = SettingStore(transactions, clock)
        self.nodes = NodeStore(transactions, clock)
        self.damaged_packs = DamagedPackStore(transactions)
        self.growth = GrowthStore(transactions)
        self.findings = FindingStore(transactions)
        self.ownership = OwnershipStore(transactions)

    def fenced(self, fence: Fence) -> Database:
        """Return a view of this database for a job: its writes fail once the fence does not hold.

        Each write checks the fence in its own transaction and raises OwnershipLost if another
        conductor has claimed the job. Reads are not checked.
        """
        return Database(FencedTransactions(self._engine, fence), self._clock)

    def sync(self) -> None:
        """Bring the schema to this version's; may be repeated.

        :raises InvalidValue: if a newer version of the service made it.
        """
        self._refuse_unknown(self.version())
        with database_errors():
            migration.upgrade(self._engine)

    def version(self) -> str | None:
        """Return the revision that the database has, None if it is empty."""
        with database_errors():
            return migration.current(self._engine)

    def expected_version(self) -> str:
        """Return the revision that this version of the service needs."""
        return migration.head()

    def check(self) -> None:
        """Raise unless the database has the expected revision.

        :raises InvalidValue: saying what to do.
        """
        found, expected = self.version(), self.expected_version()
        if found == expected:
            return
        self._refuse_unknown(found)
        raise InvalidValue(
            f"the database is at version {found or 'none'}, this service needs {expected}; "
            "run magnetodb-backup-manage db sync"
        )

    def _refuse_unknown(self, found: str | None) -> None:
        if found is not None and not migration.is_known(found):
            raise InvalidValue(
                f"the database is at version {found}, which this service does not know (it needs "
                f"{self.expected_version()}); install the newer magnetodb-backup"
            )

    def close(self) -> None:
        """Close all connections."""
        self._engine.dispose()


def connect(connection_url: str, clock: Callable[[], float] | None = None) -> Database:
    """Return the database behind an SQLAlchemy URL.

    The times of reports are by the database's own clock, unless there is a ``clock``.

    :raises InvalidValue: if the URL is wrong.
    :raises DatabaseUnavailable: if the server does not answer.
    """
    return Database(Transactions(make_engine(connection_url)), clock)
