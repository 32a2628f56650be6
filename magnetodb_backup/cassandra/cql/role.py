# SPDX-License-Identifier: Apache-2.0
"""What Cassandra lets the role of a session see and do."""

from __future__ import annotations

from magnetodb_backup.cassandra.cql.session import PinnedSession
from magnetodb_backup.domain.tables import TableName, quote
from magnetodb_backup.errors import CommandFailed

_ALLOWS_ALL = "AllowAllAuthorizer"


class SessionRole:
    """The role of a session, which has none without a username.

    Cassandra caches roles and permissions (``roles_validity`` and ``permissions_validity``, 2 s by
    default): what was granted a moment ago may not be in effect.
    """

    def __init__(self, session: PinnedSession, username: str) -> None:
        self._session, self._username = session, username

    def is_superuser(self) -> bool:
        """Return whether the role is a superuser, by itself or by a role that it was granted."""
        if not self._username:
            return False
        roles = self._session.rows(f"LIST ROLES OF {quote(self._username)}")
        return any(role.super for role in roles)

    def masked_columns(self, table: TableName) -> tuple[str, ...]:
        """Return the columns of which the role reads masks instead of values (Cassandra 5.0)."""
        columns = self._columns_with_masks(table)
        return columns if columns and not self._may_unmask(table) else ()

    def _columns_with_masks(self, table: TableName) -> tuple[str, ...]:
        try:
            masks = self._session.rows(
                "SELECT column_name FROM system_schema.column_masks "
                "WHERE keyspace_name = %s AND table_name = %s",
                (table.keyspace, table.table),
            )
        except CommandFailed:  # before 5.0 there is no such table
            return ()
        return tuple(sorted(mask.column_name for mask in masks))

    def _may_unmask(self, table: TableName) -> bool:
        rows = self._session.rows("SELECT name, value FROM system_views.settings")
        settings = {row.name: row.value for row in rows if row.value is not None}
        if settings.get("dynamic_data_masking_enabled") == "false":
            return True
        if _ALLOWS_ALL in settings.get("authorizer", _ALLOWS_ALL):
            return True
        resource = f"{quote(table.keyspace)}.{quote(table.table)}"
        granted = self._session.rows(
            f"LIST UNMASK ON TABLE {resource} OF {quote(self._username)}"  # of a parent, too
        )
        return bool(granted) or self.is_superuser()
