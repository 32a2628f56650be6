# SPDX-License-Identifier: Apache-2.0
"""Packs that verifications found damaged and that no upload has replaced since."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import TypeVar

from sqlalchemy import delete, insert, select
from sqlalchemy.orm import Session

from magnetodb_backup.database.findings import FoundBy, heal_objects, heal_packs, note_damage
from magnetodb_backup.database.models import AffectedBackupRow, DamagedPackRow
from magnetodb_backup.database.session import Transactions
from magnetodb_backup.domain.backup.findings import Damage, DamagedObject
from magnetodb_backup.domain.backup.sample import Sample

T = TypeVar("T")
_AT_ONCE = 1000  # rows in a statement


class DamagedPackStore:
    """Reads and writes damaged packs, and the findings with them; each method is one transaction.

    A pack stays damaged for each verification that found it so; a finding is the damage itself.
    """

    def __init__(self, transactions: Transactions) -> None:
        self._transactions = transactions

    def record(
        self,
        by: FoundBy,
        damage: Iterable[Damage],
        *,
        read_data: bool,
        sample: Sample | None = None,
        unread: Collection[str] = (),
    ) -> None:
        """Record what a verification of a backup found. May be repeated.

        With ``read_data`` every byte was read, or those of the packs of a ``sample``: what earlier
        verifications of the backup found in what was read is void. ``unread`` are the host IDs of
        nodes whose packs could not be looked at.
        """
        found = list(damage)
        packs = sorted({(d.host_id, d.name) for d in found if d.object is DamagedObject.PACK})

        def is_void(row: DamagedPackRow) -> bool:
            return row.verification_id == by.job_id or was_read(row)

        def was_read(row: DamagedPackRow | AffectedBackupRow) -> bool:
            of_sample = sample is None or sample.has(row.pack)
            return read_data and of_sample and row.host_id not in unread

        def work(session: Session) -> None:
            of_backup = select(DamagedPackRow).where(DamagedPackRow.backup_id == by.backup_id)
            void = [row for row in session.scalars(of_backup) if is_void(row)]
            keys = {(row.host_id, row.pack) for row in void}
            for row in void:
                session.delete(row)
            affected = select(AffectedBackupRow).where(AffectedBackupRow.backup_id == by.backup_id)
            for needed in session.scalars(affected):
                if was_read(needed):
                    session.delete(needed)
            session.flush()
            rows = (
                {
                    "host_id": host_id,
                    "pack": pack,
                    "verification_id": by.job_id,
                    "backup_id": by.backup_id,
                    "cluster": by.cluster,
                }
                for host_id, pack in packs
            )
            for batch in _batches(rows):
                session.execute(insert(DamagedPackRow), batch)
            note_damage(session, by, found)
            heal_packs(session, keys, by.job_id)
            heal_objects(session, by, found, read_all=read_data and sample is None)

        self._transactions.write(work)

    def of(self, cluster: str) -> dict[str, dict[str, list[str]]]:
        """Return, by host ID and pack, the IDs of the verifications that found it damaged."""

        def work(session: Session) -> dict[str, dict[str, list[str]]]:
            query = select(
                DamagedPackRow.host_id, DamagedPackRow.pack, DamagedPackRow.verification_id
            ).where(DamagedPackRow.cluster == cluster)
            found: dict[str, dict[str, list[str]]] = {}
            for host_id, pack, verification_id in session.execute(query):
                found.setdefault(host_id, {}).setdefault(pack, []).append(verification_id)
            return found

        return self._transactions.run(work)

    def found_by(self, verification_id: str) -> dict[str, frozenset[str]]:
        """Return the packs that a verification found and that are still damaged, by host ID."""

        def work(session: Session) -> dict[str, frozenset[str]]:
            query = select(DamagedPackRow.host_id, DamagedPackRow.pack).where(
                DamagedPackRow.verification_id == verification_id
            )
            found: dict[str, set[str]] = {}
            for host_id, pack in session.execute(query):
                found.setdefault(host_id, set()).add(pack)
            return {host_id: frozenset(packs) for host_id, packs in found.items()}

        return self._transactions.run(work)

    def need(self, cluster: str, host_id: str, backup_id: str, packs: Collection[str]) -> None:
        """Record that a backup needs damaged packs of a node. May be repeated.

        Those that are not damaged any more are left out.
        """

        def work(session: Session) -> None:
            for batch in _batches(sorted(packs)):
                damaged = select(DamagedPackRow.pack).where(
                    DamagedPackRow.host_id == host_id, DamagedPackRow.pack.in_(batch)
                )
                known = select(AffectedBackupRow.pack).where(
                    AffectedBackupRow.host_id == host_id,
                    AffectedBackupRow.backup_id == backup_id,
                    AffectedBackupRow.pack.in_(batch),
                )
                names = set(session.scalars(damaged)) - set(session.scalars(known))
                values = {"host_id": host_id, "backup_id": backup_id, "cluster": cluster}
                if rows := [{**values, "pack": pack} for pack in sorted(names)]:
                    session.execute(insert(AffectedBackupRow), rows)

        self._transactions.write(work)

    def found_in(self, backup_id: str) -> bool:
        """Return whether a verification of the backup found a pack that is still damaged."""

        def work(session: Session) -> bool:
            query = select(DamagedPackRow.pack).where(DamagedPackRow.backup_id == backup_id)
            return session.scalars(query.limit(1)).first() is not None

        return self._transactions.run(work)

    def forget(self, host_id: str, replaced: Mapping[str, Sequence[str]], by: str) -> None:
        """Remove damaged packs of a node that are uploaded again or gone; this closes findings.

        ``replaced`` has, by pack, the verifications that the caller knew of: a later one has found
        damage of the new pack. ``by`` is the backup that uploaded them, or the collection that
        removed them.
        """

        def work(session: Session) -> None:
            for pack, verifications in replaced.items():
                statement = delete(DamagedPackRow).where(
                    DamagedPackRow.host_id == host_id,
                    DamagedPackRow.pack == pack,
                    DamagedPackRow.verification_id.in_(verifications),
                )
                session.execute(statement)
            known = [(host_id, pack) for pack, verifications in replaced.items() if verifications]
            heal_packs(session, known, by)

        if replaced:
            self._transactions.write(work)


def _batches(items: Iterable[T]) -> Iterator[list[T]]:
    remaining = iter(items)
    while batch := list(islice(remaining, _AT_ONCE)):
        yield batch
