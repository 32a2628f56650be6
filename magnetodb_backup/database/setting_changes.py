# SPDX-License-Identifier: Apache-2.0
"""Records that a setting has to be copied to the store, in the transaction that changes it.

The conductor stores the copies. A process that ends between both loses none: the record stays.
"""

from __future__ import annotations

from sqlalchemy.orm import Session

from magnetodb_backup.database.retention_guard import database_now
from magnetodb_backup.database.setting_models import SettingCopyRow
from magnetodb_backup.domain.settings.records import SettingKey, SettingKind, generation_at


def record_change(session: Session, kind: SettingKind, subject: str, cluster: str) -> None:
    """Give a setting the next generation, which has to be copied."""
    row = copy_row(session, SettingKey(kind, subject, cluster), lock=True)
    now = database_now(session)
    if row is None:
        generation = generation_at(now)
        add_copy_row(session, SettingKey(kind, subject, cluster), generation, pending=True)
    else:
        row.generation, row.pending = generation_at(now, row.generation), True


def copy_row(session: Session, key: SettingKey, *, lock: bool) -> SettingCopyRow | None:
    """Return the row of a setting, locked until the transaction ends if asked."""
    identity = (key.kind.value, key.subject)
    return session.get(SettingCopyRow, identity, with_for_update=lock or None)


def add_copy_row(session: Session, key: SettingKey, generation: int, *, pending: bool) -> None:
    """Add the row of a setting that has none."""
    session.add(
        SettingCopyRow(
            kind=key.kind.value, subject=key.subject, cluster=key.cluster,
            generation=generation, pending=pending,
        )
    )  # fmt: skip
