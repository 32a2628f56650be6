# SPDX-License-Identifier: Apache-2.0
"""Packs that verifications found damaged and that no upload has replaced since."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import islice

from sqlalchemy import delete, insert, select
from sqlalchemy.orm import Session

from magnetodb_backup.database.models import DamagedPackRow
from magnetodb_backup.database.session import Transactions

_AT_ONCE = 1000  # rows in a statement


class DamagedPackStore:
    """Reads and writes findings; each method is one transaction."""

    def __init__(self, transactions: Transactions) -> None:
        self._transactions = transactions

    def record(
        self,
        verification_id: str,
        backup_id: str,
        cluster: str,
        packs: Iterable[tuple[str, str]],
        *,
        read_data: bool,
    ) -> None:
        """Record what a verification of a backup found: host IDs and packs. May be repeated.

        With ``read_data`` every byte was read, so what earlier verifications of the backup found
        is void.
        """
        found = sorted(set(packs))

        def work(session: Session) -> None:
            of_backup = DamagedPackRow.backup_id == backup_id
            own = DamagedPackRow.verification_id == verification_id
            session.execute(delete(DamagedPackRow).where(of_backup if read_data else own))
            rows = (
                {
                    "host_id": host_id,
                    "pack": pack,
                    "verification_id": verification_id,
                    "backup_id": backup_id,
                    "cluster": cluster,
                }
                for host_id, pack in found
            )
            while batch := list(islice(rows, _AT_ONCE)):
                session.execute(insert(DamagedPackRow), batch)

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

    def forget(self, host_id: str, replaced: Mapping[str, Sequence[str]]) -> None:
        """Remove findings of a node's packs that were uploaded again.

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

        if replaced:
            self._transactions.write(work)
