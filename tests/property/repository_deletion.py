# SPDX-License-Identifier: Apache-2.0
"""Deletes, undeletes and purges backups of a world as the jobs of a conductor do."""

from __future__ import annotations

from datetime import datetime, timezone

from magnetodb_backup.domain.retention.candidates import Candidate, State
from magnetodb_backup.domain.retention.decide import decide
from magnetodb_backup.domain.retention.policy import Policy
from magnetodb_backup.repository.deleted import DeletedBackups
from tests.property.repository_catalogue import Record, Status
from tests.property.repository_world import HOSTS, Kill, World
from tests.unit.repository.disk import CLUSTER, PREFIX, backup_id

PERIOD = 150_000.0  # seconds in which a backup can be undeleted


class Deletions:
    """Each step may be the last of its process; repeating the request continues it."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._store = DeletedBackups(world.driver, PREFIX, CLUSTER)

    def delete(self, number: int, killed_at: Kill | None = None) -> None:
        """Delete a backup so that it can be undeleted: until it is purged it has to be whole."""
        record, now = self._record(number), self._world.now()
        record.status = Status.DELETING
        with self._world.dying(killed_at):
            kept = self._store.set_aside(backup_id(number), _time(now), _time(now + PERIOD))
            assert kept is not None
            self._store.remove_manifest(backup_id(number))
            record.status = Status.DELETED
            record.undelete_until = kept.undelete_until.timestamp()
        self._world.settle(number)

    def undelete(self, number: int, killed_at: Kill | None = None) -> None:
        """Let a deleted backup exist again; it must be possible until its period is over."""
        record = self._record(number)
        record.status = Status.UNDELETING
        with self._world.dying(killed_at):
            self._store.put_back(backup_id(number), manifest_sha256=record.sha256)
            record.status, record.undelete_until = Status.CREATED, None
            self._store.forget(backup_id(number))
        self._world.settle(number)

    def destroy(self, number: int, killed_at: Kill | None = None) -> None:
        """Delete a backup for good, whatever is left of it; until its manifest goes it is whole."""
        record = self._record(number)
        record.status, record.doomed = Status.DELETING, True
        with self._world.dying(killed_at):
            self._store.purge(backup_id(number), HOSTS)
            record.status = Status.PURGED
        self._world.settle(number)

    def purge(self, killed_at: Kill | None = None) -> None:
        """Purge what is due, and what a process that died has left; at most one process dies."""
        for number in self.due():
            self.destroy(number, killed_at)

    def due(self) -> list[int]:
        """Return the backups whose undelete period is over, and those that are half destroyed."""
        records, now = self._world.catalogue.records, self._world.now()
        return [
            number
            for number in self._world.catalogue.numbers(Status.DELETING, Status.DELETED)
            if records[number].doomed or (records[number].undelete_until or now + 1) <= now
        ]

    def let_expire(self, policy: Policy) -> None:
        """Delete what a policy does not keep; the newest restorable backup always remains."""
        world = self._world
        candidates = [
            Candidate(
                f"{number:06}",  # those of one moment are ordered by their IDs
                "all",
                State.DAMAGED if saved.packs() & world.reported else State.RESTORABLE,
                _time(saved.at),
            )
            for number in world.catalogue.numbers(Status.CREATED)
            if (saved := world.backups.get(number)) is not None
        ]
        decisions = decide(policy, candidates, _time(world.now()))
        assert {d.candidate.id for d in decisions} == {c.id for c in candidates}
        for number in [int(d.candidate.id) for d in decisions if not d.kept]:
            self.delete(number)
        restorable = [c for c in candidates if c.state is State.RESTORABLE]
        left = [c for c in restorable if int(c.id) in world.backups]
        assert len(left) >= min(policy.floor, len(restorable)), "fewer remain than promised"
        assert restorable[-1:] == left[-1:], "the newest restorable backup has expired"

    def _record(self, number: int) -> Record:
        return self._world.catalogue.records[number]


def _time(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, timezone.utc)
