# SPDX-License-Identifier: Apache-2.0
"""Packs that verifications found damaged and that no upload has replaced since."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from itertools import islice

from sqlalchemy import delete, insert, select
from sqlalchemy.orm import Session

from magnetodb_backup.database.findings import FoundBy, heal_objects, heal_packs, note_damage
from magnetodb_backup.database.models import DamagedPackRow
from magnetodb_backup.database.session import Transactions
from magnetodb_backup.domain.backup.findings import Damage, DamagedObject
from magnetodb_backup.domain.backup.sample import Sample

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
            if row.verification_id == by.job_id:
                return True
            was_read = row.host_id not in unread and (sample is None or sample.has(row.pack))
            return read_data and was_read

        def work(session: Session) -> None:
            of_backup = select(DamagedPackRow).where(DamagedPackRow.backup_id == by.backup_id)
            void = [row for row in session.scalars(of_backup) if is_void(row)]
            keys = {(row.host_id, row.pack) for row in void}
            for row in void:
                session.delete(row)
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
            while batch := list(islice(rows, _AT_ONCE)):
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

    def found_in(self, backup_id: str) -> bool:
        """Return whether a verification of the backup found a pack that is still damaged."""

        def work(session: Session) -> bool:
            query = select(DamagedPackRow.pack).where(DamagedPackRow.backup_id == backup_id)
            return session.scalars(query.limit(1)).first() is not None

        return self._transactions.run(work)

    def forget(self, host_id: str, replaced: Mapping[str, Sequence[str]], backup_id: str) -> None:
        """Remove damaged packs of a node that a backup has uploaded again; this heals them.

        ``replaced`` has, by pack, the verifications that the upload knew of: a later one has found
        damage of the new pack.
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
            heal_packs(session, known, backup_id)

        if replaced:
            self._transactions.write(work)
