# SPDX-License-Identifier: Apache-2.0
"""How far the tables of each backup are proved."""

from __future__ import annotations

from collections.abc import Iterable

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from magnetodb_backup.database.models import ProofRow
from magnetodb_backup.database.session import Transactions
from magnetodb_backup.domain.backup.proofs import Outcome, Proof, Rung


class ProofStore:
    """Reads and writes proofs; each method is one transaction."""

    def __init__(self, transactions: Transactions) -> None:
        self._transactions = transactions

    def put(
        self, backup_id: str, proofs: Iterable[Proof], *, instead_of: Rung | None = None
    ) -> None:
        """Write proofs over earlier ones of the same rung and table.

        All proofs of the rung ``instead_of`` are removed.
        """
        wanted = {(p.rung.value, p.keyspace, p.table): p for p in proofs}

        def work(session: Session) -> None:
            if instead_of is not None:
                of_rung = ProofRow.rung == instead_of.value
                session.execute(delete(ProofRow).where(ProofRow.backup_id == backup_id, of_rung))
            query = select(ProofRow).where(
                ProofRow.backup_id == backup_id,
                ProofRow.rung.in_({rung for rung, _, _ in wanted}),
            )
            known = {(r.rung, r.keyspace, r.table_name): r for r in session.scalars(query)}
            for key, proof in wanted.items():
                row = known.get(key)
                if row is None:
                    rung, keyspace, table = key
                    row = ProofRow(
                        backup_id=backup_id, rung=rung, keyspace=keyspace, table_name=table
                    )
                    session.add(row)
                row.outcome, row.proved_at = proof.outcome.value, proof.proved_at
                row.job_id, row.detail = proof.job_id, proof.detail

        self._transactions.write(work)

    def of(self, backup_id: str) -> tuple[Proof, ...]:
        """Return the proofs of a backup, by rung and table."""

        def work(session: Session) -> tuple[Proof, ...]:
            query = select(ProofRow).where(ProofRow.backup_id == backup_id)
            rows = session.scalars(
                query.order_by(ProofRow.rung, ProofRow.keyspace, ProofRow.table_name)
            )
            return tuple(_proof(row) for row in rows)

        return self._transactions.run(work)


def forget_proofs(session: Session, backup_id: str) -> None:
    """Delete the proofs of a backup that is deleted."""
    session.execute(delete(ProofRow).where(ProofRow.backup_id == backup_id))


def _proof(row: ProofRow) -> Proof:
    return Proof(
        row.keyspace,
        row.table_name,
        Rung(row.rung),
        Outcome(row.outcome),
        row.proved_at,
        row.job_id,
        row.detail,
    )
