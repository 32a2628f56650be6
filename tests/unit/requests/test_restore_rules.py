# SPDX-License-Identifier: Apache-2.0
"""What is refused of a restore request, and what is said then."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta, timezone
from typing import Any

import pytest

from magnetodb_backup.domain.backup.records import Backup
from magnetodb_backup.domain.backup.status import BackupStatus
from magnetodb_backup.domain.restore.records import Existing, RestoreRequest
from magnetodb_backup.domain.tables import (
    KeyspaceDescription,
    Selection,
    TableDescription,
    TableName,
)
from magnetodb_backup.errors import Conflict, InvalidValue, NotFound
from magnetodb_backup.requests.restores import checked_request
from tests.unit.domain.samples import BACKUP, BACKUP_ID, TIME


def holding(*tables: str, keyspaces: tuple[str, ...] = ()) -> Backup:
    """Return a backup of these tables, and of keyspaces that have none."""
    names = [TableName.parse(t) for t in tables]
    selection = Selection(
        tuple(
            KeyspaceDescription(k)
            for k in dict.fromkeys((*(n.keyspace for n in names), *keyspaces))
        ),
        tuple(TableDescription(n, f"{i:032x}") for i, n in enumerate(names)),
    )
    return replace(BACKUP, selection=selection.as_json())


SHOP = holding("shop.orders", 'shop."Orders"', "shop.users", "system_auth.roles")
TWO = holding("a.t", "b.t", "b.u")


def checked(backup: Backup = SHOP, **values: Any) -> RestoreRequest:
    return checked_request(RestoreRequest(BACKUP_ID, **values), backup, TIME)


@pytest.mark.parametrize(
    ("backup", "values"),
    [
        (SHOP, {}),
        (SHOP, {"keyspaces": ("shop",)}),
        (SHOP, {"tables": ("shop.orders", 'shop."Orders"')}),
        (SHOP, {"to_keyspace": "shop2"}),
        (SHOP, {"tables": ("shop.orders",), "to_table": "orders2"}),
        (SHOP, {"tables": ("shop.orders",), "to_keyspace": "shop2", "to_table": "orders"}),
        (SHOP, {"tables": ("shop.orders",), "to_keyspace": "shop", "to_table": "old"}),
        (SHOP, {"node": "10.0.0.1"}),
        (SHOP, {"node": "10.0.0.1", "existing": Existing.MERGE}),
        (SHOP, {"existing": Existing.REPLACE, "source_replicas": "one"}),
        (SHOP, {"offline": True, "system_auth": True}),
        # A keyspace of a user may look like Cassandra's own.
        (holding("system_reports.r"), {}),
        (holding("system_reports.r"), {"keyspaces": ("system_reports",)}),
        (holding("system_reports.r"), {"tables": ("system_reports.r",)}),
        (SHOP, {"keyspaces": ("shop",), "to_keyspace": "system_new"}),
        (SHOP, {"offline": True, "node": "10.0.0.1", "existing": Existing.REPLACE}),
        (holding("system_auth.roles"), {"offline": True, "system_auth": True}),
        (TWO, {"keyspaces": ("b",), "to_keyspace": "c"}),
        (TWO, {"keyspaces": ("a",), "tables": ("b.u",)}),
        (holding(keyspaces=("empty",)), {"to_keyspace": "other"}),
        (replace(BACKUP, selection=None), {"tables": ("k.t",)}),  # the job reads the manifest
    ],
)
def test_what_is_allowed_stays_as_it_is(backup: Backup, values: dict[str, Any]) -> None:
    assert checked(backup, **values) == RestoreRequest(BACKUP_ID, **values)


def test_quotes_are_taken_off() -> None:
    request = checked(
        holding('"Shop".t'), keyspaces=('"Shop"',), to_keyspace='"Copy"', existing=Existing.MERGE
    )
    assert (request.keyspaces, request.to_keyspace) == (("Shop",), "Copy")
    assert request.existing is Existing.MERGE


@pytest.mark.parametrize(
    ("backup", "values", "named"),
    [
        (SHOP, {"tables": ("orders",)}, "'orders' is not a table; write keyspace.table"),
        (SHOP, {"keyspaces": ("../etc",)}, "'../etc' is not a keyspace name"),
        (SHOP, {"to_keyspace": "a-b"}, "'a-b' is not a keyspace name"),
        (SHOP, {"tables": ("shop.users",), "to_table": "a;b"}, "'a;b' is not a table name"),
        (SHOP, {"source_replicas": "two"}, "source_replicas is 'two'; use all or one"),
        (
            SHOP,
            {"node": "n", "existing": Existing.REPLACE},
            "truncated on all nodes at once.*use merge",
        ),
        (SHOP, {"system_auth": True}, "system_auth is restored offline only"),
        (SHOP, {"offline": True, "to_keyspace": "s2"}, "cannot give another name"),
        (SHOP, {"offline": True, "tables": ("shop.users",), "to_table": "u"}, "another name"),
        (SHOP, {"offline": True, "existing": Existing.MERGE}, "cannot merge; use --existing"),
        (SHOP, {"offline": True, "keyspaces": ("system_auth",)}, "is Cassandra's own"),
        (SHOP, {"keyspaces": ("system",)}, "keyspace system is Cassandra's own"),
        (SHOP, {"tables": ("system_auth.roles",)}, "keyspace system_auth is Cassandra's own"),
        (SHOP, {"to_keyspace": "system_views"}, "keyspace system_views is Cassandra's own"),
        (SHOP, {"to_table": "new"}, "exactly one table"),
        (SHOP, {"tables": ("shop.users", "shop.orders"), "to_table": "new"}, "exactly one table"),
        (
            SHOP,
            {"tables": ("shop.users",), "keyspaces": ("shop",), "to_table": "new"},
            "exactly one table",
        ),
        (SHOP, {"to_keyspace": "shop"}, "the new name of .*shop.users.* is the old one"),
        (SHOP, {"tables": ("shop.users",), "to_table": "users"}, "shop.users is the old one"),
        (holding(keyspaces=("e",)), {"to_keyspace": "e"}, "the new name of e is the old one"),
        (TWO, {"to_keyspace": "c"}, "the keyspaces a, b cannot all become c; restore one"),
        (holding("system_auth.roles"), {}, "nothing but Cassandra's own keyspaces"),
    ],
)
def test_contradictions_and_harm_are_refused(
    backup: Backup, values: dict[str, Any], named: str
) -> None:
    with pytest.raises(InvalidValue, match=named):
        checked(backup, **values)


@pytest.mark.parametrize(
    ("values", "named"),
    [
        (
            {"tables": ("shop.nope", "shop.users")},
            'does not have shop.nope; it has the keyspaces shop, there the tables shop."Orders", '
            "shop.orders, shop.users$",
        ),
        ({"keyspaces": ("other",)}, "does not have other; it has the keyspaces shop$"),
        ({"keyspaces": ("Shop",)}, "does not have Shop;"),
    ],
)
def test_what_the_backup_lacks_is_named(values: dict[str, Any], named: str) -> None:
    with pytest.raises(NotFound, match=named):
        checked(SHOP, **values)


def test_a_check_needs_figures_of_all_nodes() -> None:
    remedy = r"no fingerprints .*leave --check out.*with --fingerprints"
    with pytest.raises(InvalidValue, match=remedy):
        checked(check=True)
    proven = replace(SHOP, figures=True)
    assert checked(proven, check=True).check
    with pytest.raises(InvalidValue, match="a single node cannot be checked"):
        checked(proven, check=True, node="n")


def test_roles_that_the_backup_lacks() -> None:
    with pytest.raises(NotFound, match=r"not have the keyspace system_auth; .*--all-keyspaces"):
        checked(TWO, offline=True, system_auth=True)


def test_a_partial_backup_must_be_allowed() -> None:
    partial = replace(SHOP, status=BackupStatus.PARTIAL)
    with pytest.raises(InvalidValue, match=r"PARTIAL: only a replica of each .*--allow-partial"):
        checked(partial)
    assert checked(partial, allow_partial=True).allow_partial


@pytest.mark.parametrize(
    "status", [s for s in BackupStatus if s not in (BackupStatus.CREATED, BackupStatus.PARTIAL)]
)
def test_other_backups_have_nothing_to_restore(status: BackupStatus) -> None:
    with pytest.raises(Conflict, match=f"{BACKUP_ID} is {status.value}; only CREATED and PARTIAL"):
        checked(replace(SHOP, status=status), allow_partial=True)


def test_the_time_of_the_store_is_normalised() -> None:
    earlier = (TIME - timedelta(days=1)).astimezone(timezone.utc)
    assert checked().as_of == ""
    assert checked(as_of=earlier.isoformat().replace("+00:00", "Z")).as_of == earlier.isoformat()
    with pytest.raises(InvalidValue, match="in the future"):
        checked(as_of=(TIME + timedelta(days=1)).isoformat())
    with pytest.raises(InvalidValue, match="'noon' is not a time"):
        checked(as_of="noon")
