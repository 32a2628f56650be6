# SPDX-License-Identifier: Apache-2.0
"""Damage that verifications found: since when it is known, and what has healed it."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from typing import TypeVar

from sqlalchemy import ColumnElement, delete, exists, insert, select, update
from sqlalchemy.orm import Session

from magnetodb_backup.database.models import (
    AffectedBackupRow,
    BackupRow,
    DamagedPackRow,
    FindingRow,
)
from magnetodb_backup.database.records import now
from magnetodb_backup.database.session import Transactions
from magnetodb_backup.domain.backup.findings import CONTENT, Damage, DamagedObject, Finding
from magnetodb_backup.domain.backup.status import BackupStatus
from magnetodb_backup.errors import InvalidValue

T = TypeVar("T")
_AT_ONCE = 500  # names in a statement
_LONGEST_DETAIL = 1000  # characters
_COMPLETE = (BackupStatus.CREATED.value, BackupStatus.PARTIAL.value)
Key = tuple[str, str, str]  # host ID, object, name


@dataclass(frozen=True)
class FoundBy:
    """A verification, the backup that it read, and that backup's cluster."""

    job_id: str
    backup_id: str
    cluster: str


class FindingStore:
    """Reads findings. ``DamagedPackStore`` writes them, together with the damaged packs."""

    def __init__(self, transactions: Transactions) -> None:
        self._transactions = transactions

    def list(
        self, *, cluster: str | None = None, healed: bool = False, limit: int | None = None
    ) -> tuple[Finding, ...]:
        """Return the open findings, with ``healed`` the others too, newest first.

        :raises InvalidValue: for a limit below 1.
        """
        if limit is not None and limit < 1:
            raise InvalidValue(f"limit is {limit}; use 1 or more")

        def work(session: Session) -> tuple[Finding, ...]:
            query = select(FindingRow)
            if cluster is not None:
                query = query.where(FindingRow.cluster == cluster)
            if not healed:
                query = query.where(FindingRow.healed_at.is_(None))
            query = query.order_by(
                FindingRow.last_seen.desc(), FindingRow.host_id, FindingRow.object, FindingRow.name
            )
            rows = session.scalars(query.limit(limit)).all()
            return _findings(session, rows)

        return self._transactions.run(work)

    def of_backup(self, backup_id: str, limit: int) -> tuple[Finding, ...]:
        """Return the open findings on what a backup needs, newest first."""

        def work(session: Session) -> tuple[Finding, ...]:
            own = (FindingRow.object != DamagedObject.PACK.value) & (FindingRow.name == backup_id)
            query = select(FindingRow).where(
                FindingRow.healed_at.is_(None),
                own
                | _is_needed(AffectedBackupRow, backup_id)
                | _is_needed(DamagedPackRow, backup_id),
            )
            query = query.order_by(
                FindingRow.last_seen.desc(), FindingRow.host_id, FindingRow.object, FindingRow.name
            )
            return _findings(session, session.scalars(query.limit(limit)).all())

        return self._transactions.run(work)


def note_damage(session: Session, by: FoundBy, found: Iterable[Damage]) -> None:
    """Record damage: new findings, and those that are known or were healed before."""
    at = now()
    new = {_key(each): each for each in found}
    known = {
        (row.host_id, row.object, row.name): row
        for row in _rows(session, {name for _, _, name in new})
    }
    added = []
    for key, damage in new.items():
        row = known.get(key)
        if row is None:
            added.append(_values(damage, by, at))
            continue
        if row.healed_at is not None:
            row.first_seen, row.healed_at, row.healed_by = at, None, ""
        row.last_seen, row.job_id, row.backup_id = at, by.job_id, by.backup_id
        row.cluster, row.problem = by.cluster, damage.problem
        row.detail = damage.detail[:_LONGEST_DETAIL]
    for batch in _batches(added):
        session.execute(insert(FindingRow), batch)


def heal_objects(session: Session, by: FoundBy, found: Iterable[Damage], *, read_all: bool) -> None:
    """Close the findings on objects of a backup that its verification has found whole.

    Without a backup manifest the others were not looked at. Files that do not match their node
    manifest are found only if every byte was read, ``read_all``.
    """
    damaged = {_key(each) for each in found}
    if ("", DamagedObject.MANIFEST.value, by.backup_id) in damaged:
        return
    query = select(FindingRow).where(
        FindingRow.object != DamagedObject.PACK.value,
        FindingRow.name == by.backup_id,
        FindingRow.healed_at.is_(None),
    )
    for row in session.scalars(query):
        looked_at = read_all or row.problem != CONTENT
        if looked_at and (row.host_id, row.object, row.name) not in damaged:
            row.healed_at, row.healed_by = now(), by.job_id


def heal_packs(session: Session, packs: Collection[tuple[str, str]], by: str) -> None:
    """Close the findings on those of the packs that no verification holds for damaged any more."""
    at = now()
    for batch in _batches(sorted(packs)):
        names = {pack for _, pack in batch}
        query = select(DamagedPackRow.host_id, DamagedPackRow.pack).distinct()
        left = {(h, p) for h, p in session.execute(query.where(DamagedPackRow.pack.in_(names)))}
        for host_id, pack in set(batch) - left:
            session.execute(
                delete(AffectedBackupRow).where(
                    AffectedBackupRow.host_id == host_id, AffectedBackupRow.pack == pack
                )
            )
            session.execute(
                update(FindingRow)
                .where(_is(host_id, DamagedObject.PACK.value, pack))
                .where(FindingRow.healed_at.is_(None))
                .values(healed_at=at, healed_by=by)
            )


def forget_objects(session: Session, backup_id: str) -> None:
    """Delete the findings on the objects of a backup that is deleted; packs stay."""
    session.execute(
        delete(FindingRow).where(
            FindingRow.object != DamagedObject.PACK.value, FindingRow.name == backup_id
        )
    )


def _is(host_id: str, object_: str, name: str) -> ColumnElement[bool]:
    same = (FindingRow.host_id == host_id) & (FindingRow.object == object_)
    return same & (FindingRow.name == name)


def _rows(session: Session, names: Collection[str]) -> Iterator[FindingRow]:
    for batch in _batches(sorted(names)):
        yield from session.scalars(select(FindingRow).where(FindingRow.name.in_(batch)))


def _is_needed(
    row: type[AffectedBackupRow | DamagedPackRow], backup_id: str
) -> ColumnElement[bool]:
    """Choose the findings on packs that a backup needs, as the rows say."""
    return (FindingRow.object == DamagedObject.PACK.value) & exists().where(
        row.host_id == FindingRow.host_id, row.pack == FindingRow.name, row.backup_id == backup_id
    )


def _findings(session: Session, rows: Sequence[FindingRow]) -> tuple[Finding, ...]:
    names = [row.name for row in rows]
    found_in, affected = _found_in(session, names), _affected(session, names)
    return tuple(
        _finding(row, found_in.get(key, ()), affected.get(key, ()))
        for row in rows
        for key in [(row.host_id, row.name)]
    )


def _affected(session: Session, names: Collection[str]) -> dict[tuple[str, str], tuple[str, ...]]:
    """Return the complete backups that need packs, oldest first, by host ID and pack."""
    found: dict[tuple[str, str], list[str]] = {}
    for batch in _batches(sorted(set(names))):
        query = (
            select(AffectedBackupRow)
            .join(BackupRow, BackupRow.id == AffectedBackupRow.backup_id)
            .where(AffectedBackupRow.pack.in_(batch), BackupRow.status.in_(_COMPLETE))
            .order_by(BackupRow.created_at, BackupRow.id)
        )
        for row in session.scalars(query):
            found.setdefault((row.host_id, row.pack), []).append(row.backup_id)
    return {key: tuple(ids) for key, ids in found.items()}


def _found_in(session: Session, names: Collection[str]) -> dict[tuple[str, str], tuple[str, ...]]:
    """Return the backups whose verifications found packs damaged, by host ID and pack."""
    found: dict[tuple[str, str], set[str]] = {}
    for batch in _batches(sorted(set(names))):
        query = select(DamagedPackRow).where(DamagedPackRow.pack.in_(batch))
        for row in session.scalars(query):
            found.setdefault((row.host_id, row.pack), set()).add(row.backup_id)
    return {key: tuple(sorted(ids)) for key, ids in found.items()}


def _key(damage: Damage) -> Key:
    return damage.host_id, damage.object.value, damage.name


def _values(damage: Damage, by: FoundBy, at: datetime) -> dict[str, object]:
    return {
        "host_id": damage.host_id,
        "object": damage.object.value,
        "name": damage.name,
        "cluster": by.cluster,
        "problem": damage.problem,
        "detail": damage.detail[:_LONGEST_DETAIL],
        "first_seen": at,
        "last_seen": at,
        "job_id": by.job_id,
        "backup_id": by.backup_id,
        "healed_at": None,
        "healed_by": "",
    }


def _finding(row: FindingRow, found_in: tuple[str, ...], affected: tuple[str, ...]) -> Finding:
    return Finding(
        DamagedObject(row.object),
        row.cluster,
        row.host_id,
        row.name,
        row.problem,
        row.detail,
        row.first_seen,
        row.last_seen,
        row.job_id,
        row.backup_id,
        found_in or (row.backup_id,),
        row.healed_at,
        row.healed_by,
        affected,
    )


def _batches(items: Iterable[T]) -> Iterator[list[T]]:
    remaining = iter(items)
    while batch := list(islice(remaining, _AT_ONCE)):
        yield batch
