# SPDX-License-Identifier: Apache-2.0
"""Schemas of a restore: tables, types and views that the target has already."""

from __future__ import annotations

import pytest

from magnetodb_backup.domain.schema.planner import SchemaPlan, Target, plan_schema
from magnetodb_backup.domain.tables import TableName
from tests.unit.domain.describes import (
    ALTERS,
    CASSANDRA_41,
    CASSANDRA_50,
    INDEXES,
    KEYSPACE,
    LEGACY,
    ORDERS,
    ORDERS_ID,
    TYPES,
    VIEW,
    VIEW_ID,
    described,
)

NAME = TableName("shop", "orders")
OTHER_ID = "99999999-f31d-3123-8d1b-41e1c4b4d7f0"


def plan(backup: str, present: str, source: TableName = NAME, to: TableName = NAME) -> SchemaPlan:
    result = plan_schema(backup, present, [Target(source, to)])
    assert result.create == ()
    return result


def changed(old: str, new: str) -> str:
    assert old in CASSANDRA_41
    return CASSANDRA_41.replace(old, new)


@pytest.mark.parametrize(
    ("backup", "present"), [(CASSANDRA_41, CASSANDRA_50), (CASSANDRA_50, CASSANDRA_41)]
)
def test_a_table_of_another_version_is_the_same(backup: str, present: str) -> None:
    result = plan(backup, present)
    assert (result.differences, result.notes) == ((), ())


def test_ids_blanks_and_the_order_of_columns_do_not_matter() -> None:
    present = changed(ORDERS_ID, OTHER_ID)
    present = present.replace("    line int,\n", "").replace(
        "    id uuid", "  line int, \n id uuid"
    )
    present = present.replace("list<int>", "list< int >").replace("    note text,\n", "")
    present = present.replace("customer text static", 'note  text, "customer" text STATIC')
    assert plan(CASSANDRA_41, present).differences == ()


@pytest.mark.parametrize(
    ("old", "new", "lines"),
    [
        ("line int,\n    cust", "line bigint,\n    cust", ["-clustering 1: line int DESC",
                                                          "+clustering 1: line bigint DESC"]),
        ("(line DESC)", "(line ASC)", ["-clustering 1: line int DESC",
                                       "+clustering 1: line int ASC"]),
        ("text static", "text", ["-column customer text static", "+column customer text"]),
        ("((id, at), line)", "((at, id), line)", ["-partition key 1: id uuid",
                                                  "+partition key 2: id uuid"]),
        ("((id, at), line)", "(id, at, line)", ["-partition key 2: at timestamp",
                                                "+clustering 1: at timestamp ASC"]),
        ("frozen<list<int>>>", "frozen<list<text>>>",
         ['-column "order" map<text, frozen<list<int>>>',
          '+column "order" map<text, frozen<list<text>>>']),
        ("    address frozen<\"Address\">,\n", "", ['-column address frozen<"Address">']),
        (f"ID = {ORDERS_ID}", "COMPACT STORAGE", ["+compact storage"]),
    ],
)  # fmt: skip
def test_another_structure_is_shown_as_a_diff(old: str, new: str, lines: list[str]) -> None:
    result = plan(CASSANDRA_41, changed(old, new))
    (difference,) = result.differences
    shown = difference.split("\n")
    assert shown[:3] == [
        "table shop.orders has another structure than in the backup; restore it under another "
        "name (--to-table):",
        "--- backup",
        "+++ present",
    ]
    for line in lines:
        assert line in shown


def test_a_table_under_another_name_is_compared_with_that_one() -> None:
    copy = TableName("Sh", "Copy")
    present = described(KEYSPACE, TYPES, ORDERS, ALTERS, INDEXES).replace(
        " shop WITH", ' "Sh" WITH'
    )
    present = present.replace("shop.", '"Sh".').replace(".orders", '."Copy"')
    assert plan(CASSANDRA_41, present, to=copy).differences == ()
    result = plan(CASSANDRA_41, present.replace("    at timestamp", "    at date"), to=copy)
    assert result.differences[0].startswith('table "Sh"."Copy" has another structure')


DROPS = [
    ("gone", "ALTER TABLE shop.orders ADD gone int; "
     "ALTER TABLE shop.orders DROP gone USING TIMESTAMP 1589286942065000;"),
    ("note", "ALTER TABLE shop.orders DROP note USING TIMESTAMP 1589286942065001; "
     "ALTER TABLE shop.orders ADD note text;"),
]  # fmt: skip


@pytest.mark.parametrize(("column", "remedy"), DROPS)
def test_cells_dropped_before_the_backup_would_come_back(column: str, remedy: str) -> None:
    """A table that was created again has no record of the drop, or one of an earlier drop."""
    again = changed(ALTERS, "").replace("    gone int,\n", "")
    earlier = changed(f"DROP {column} USING TIMESTAMP 1589286942065", f"DROP {column} USING TIME"
                      "STAMP 1000000000000")  # fmt: skip
    for present, time in ((again, "not here"), (earlier, "at 1000000000000")):
        found = [d for d in plan(CASSANDRA_41, present).differences if f"column {column} " in d]
        assert len(found) == 1
        assert time in found[0]
        assert "would come back" in found[0]
        assert f"Run first: {remedy} or restore the table under another name" in found[0]


def test_remedy_for_a_missing_drop_removes_the_difference() -> None:
    again = changed(ALTERS, "").replace("    gone int,\n", "")
    remedies = [remedy.replace("; ", ";\n") for _, remedy in DROPS]
    with_drops = again.replace(INDEXES, "\n".join([*remedies, INDEXES]))
    assert with_drops != again
    result = plan(CASSANDRA_41, with_drops)
    assert (result.differences, result.lost, result.notes) == ((), (), ())


@pytest.mark.parametrize("backup", [CASSANDRA_41, changed(ALTERS, "")], ids=["earlier", "never"])
def test_cells_of_a_column_dropped_and_added_again_would_be_lost(backup: str) -> None:
    """Not all rows of the backup would come back; a merge takes the drop for a deletion."""
    backup = backup if ALTERS in backup else backup.replace("    gone int,\n", "")
    present = changed("DROP note USING TIMESTAMP 1589286942065001", "DROP note USING TIMESTAMP "
                      "1999999999999999")  # fmt: skip
    result = plan(backup, present)
    assert (result.differences, result.notes) == ((), ())
    (lost,) = result.lost
    assert "table shop.orders: column note was dropped at 1999999999999999 here" in lost
    assert ("in the backup at 1589286942065001" in lost) == (ALTERS in backup)
    for remedy in ("drop the table first", "(--to-table)", "--existing merge"):
        assert remedy in lost


def test_later_drop_of_a_column_that_the_backup_lacks_is_none_of_its_concern() -> None:
    present = changed(ALTERS, ALTERS.replace("5000;", "5009;"))
    result = plan(CASSANDRA_41, present)
    assert (result.differences, result.lost, result.notes) == ((), (), ())


@pytest.mark.parametrize("swapped", [False, True])
def test_a_column_added_again_with_another_type_is_a_difference(swapped: bool) -> None:
    backup = changed("ADD note text", "ADD note blob")
    present = described(
        KEYSPACE,
        TYPES,
        ORDERS.replace("    gone int,\n", "").replace("note text", "note blob"),
        INDEXES,
    )
    (difference,) = plan(*((present, backup) if swapped else (backup, present))).differences
    assert f"\n{'+' if swapped else '-'}dropped column note text" in difference


def test_a_column_dropped_with_different_types_is_a_difference() -> None:
    (difference,) = plan(CASSANDRA_41, changed("    gone int", "    gone blob")).differences
    assert "-dropped column gone int\n+dropped column gone blob" in difference


def test_a_dropped_column_that_is_back_is_a_difference() -> None:
    present = changed(ALTERS.split("\n")[0], "")
    assert "+column gone int" in plan(CASSANDRA_41, present).differences[0]


def test_a_dropped_user_defined_type_is_a_tuple_and_no_other_type() -> None:
    present = described(KEYSPACE, TYPES, ORDERS, ALTERS, INDEXES)
    backup = present.replace('address frozen<"Address">', "address frozen<tuple<text, int>>")
    backup += (
        "ALTER TABLE shop.orders DROP address USING TIMESTAMP 5;"
        'ALTER TABLE shop.orders ADD address frozen<"Address">;'
    )
    (difference,) = plan(backup, present).differences
    assert "column address was dropped at 5 in the backup, not here" in difference
    assert 'ALTER TABLE shop.orders ADD address frozen<"Address">;' in difference
    assert plan(present, backup).differences == ()


def test_other_fields_of_a_type_are_a_difference() -> None:
    present = changed("    value varint\n", "    more int,\n    value varint\n")
    (difference,) = plan(CASSANDRA_41, present).differences
    assert difference.split("\n") == [
        "type shop.line has other fields than in the backup; restore the tables under another "
        "keyspace name (--to-keyspace):",
        "--- backup",
        "+++ present",
        "@@ -1,2 +1,3 @@",
        " shop text",
        "+more int",
        " value varint",
    ]
    fewer = changed("text,\n    value varint\n", "text\n")
    assert "-value varint" in plan(CASSANDRA_41, fewer).differences[0]
    assert plan(CASSANDRA_41, changed("    a int\n", "    a text\n")).differences == ()  # unused


def test_a_column_added_since_the_backup_is_a_note() -> None:
    """SSTables without a column are valid; the restored rows have null there."""
    present = changed(
        "    gone int,", "    gone int,\n    more vector<float, 3>,\n    s int static,"
    )
    result = plan(CASSANDRA_41, present)
    assert (result.create, result.differences, result.grown) == ((), (), (NAME,))
    assert result.notes == (
        "table shop.orders: columns added since the backup are null in restored rows: more "
        "vector<float, 3>, s int static",
    )
    back = plan(present, CASSANDRA_41)
    assert "-column more vector<float, 3>" in back.differences[0]
    assert "(--to-table)" in back.differences[0]


@pytest.mark.parametrize(
    "added", ["note text static", "note blob"], ids=["static", "of another type"]
)
def test_a_column_added_again_otherwise_is_a_difference(added: str) -> None:
    """The backup's SSTables may have its cells from the time before the drop."""
    backup = changed("\nALTER TABLE shop.orders ADD note text;", "")
    present = changed("ADD note text", f"ADD {added}")
    (difference,) = plan(backup, present).differences
    assert f"+column {added}" in difference
    assert plan(backup, CASSANDRA_41).differences == ()


def test_a_field_appended_to_a_type_since_the_backup_is_a_note() -> None:
    """Values of a user-defined type with fewer fields are valid, also within other types."""
    present = changed("    value varint\n", "    value varint,\n    more int\n")
    result = plan(CASSANDRA_41, present)
    assert (result.create, result.differences, result.grown) == ((), (), (NAME,))
    assert result.notes == (
        "type shop.line: fields added since the backup are null in restored values: more",
    )


def test_two_keyspaces_with_different_types_do_not_fit_into_one() -> None:
    second = CASSANDRA_41.replace("shop", "b").replace("value varint", "value int")
    targets = [
        Target(NAME, TableName("c", "t")),
        Target(TableName("b", "orders"), TableName("c", "u")),
    ]
    result = plan_schema(CASSANDRA_41 + second, "", targets)
    assert [d.split("\n")[0] for d in result.differences] == [
        "type c.line has other fields than in the backup; restore the tables under another "
        "keyspace name (--to-keyspace):"
    ]


def test_other_options_are_notes_with_both_values() -> None:
    present = changed("gc_grace_seconds = 864000", "gc_grace_seconds = 60").replace(
        "LeveledCompaction", "SizeTieredCompaction"
    )
    result = plan(CASSANDRA_41, present.replace(ORDERS_ID, OTHER_ID))
    assert result.differences == ()
    prefix = "org.apache.cassandra.db.compaction."
    assert result.notes == (
        f"table shop.orders: compaction is {{'class': '{prefix}SizeTieredCompactionStrategy'}} "
        f"here, {{'class': '{prefix}LeveledCompactionStrategy'}} in the backup",
        "table shop.orders: gc_grace_seconds is 60 here, 864000 in the backup",
    )


def test_the_replication_of_a_whole_keyspace_and_other_functions_are_notes() -> None:
    present = changed("'dc1': '3'", "'dc1': '1'").replace("return state;", "return 1L;")
    result = plan_schema(CASSANDRA_41, present, [], ["shop"])
    assert (result.create, result.differences) == ((), ())
    assert "keyspace shop: replication is {'class': 'NetworkTopologyStrategy', 'dc1': '1'}" in (
        "".join(result.notes)
    )
    assert "function shop.plus(bigint) exists with another definition" in "".join(result.notes)


def test_missing_indexes_are_notes_whatever_the_others_are_called() -> None:
    present = changed("INDEX by_customer ON", "INDEX mine ON").replace("'sai'", "'other.Index'")
    result = plan(CASSANDRA_41, present)
    assert result.differences == ()
    assert result.notes == ('table shop.orders: index "By_Note" of the backup is missing here',)


def test_a_legacy_table_can_be_compared() -> None:
    legacy = TableName("shop", "legacy")
    assert plan(CASSANDRA_41, CASSANDRA_41, legacy, legacy).differences == ()
    present = CASSANDRA_41.replace("value blob,", "value text,")
    assert "+column value text" in plan(CASSANDRA_41, present, legacy, legacy).differences[0]
    assert "legacy" in LEGACY


def test_views_of_present_tables_are_told_too() -> None:
    result = plan(CASSANDRA_41, described(KEYSPACE, TYPES, ORDERS, ALTERS, INDEXES))
    assert [s.text for s in result.views] == [VIEW]


@pytest.mark.parametrize("there", [False, True])
def test_views_follow_to_another_keyspace_with_a_new_id(there: bool) -> None:
    present = CASSANDRA_41 if there else ""
    result = plan_schema(CASSANDRA_41, present, [Target(NAME, TableName("b", "orders2"))])
    (view,) = result.views
    assert view.text == VIEW.replace("VIEW shop.", "VIEW b.").replace(
        "shop.orders", "b.orders2"
    ).replace(f"ID = {VIEW_ID}\n    AND ", "")
    assert (view.keyspace, view.table) == ("b", "orders2")


def test_a_view_whose_id_another_one_has_gets_a_new_one() -> None:
    moved = VIEW.replace("VIEW shop.orders_by_line", "VIEW shop.moved")
    result = plan(CASSANDRA_41, described(KEYSPACE, TYPES, ORDERS, ALTERS, INDEXES, moved))
    assert [s.text for s in result.views] == [VIEW.replace(f"ID = {VIEW_ID}\n    AND ", "")]


@pytest.mark.parametrize(
    "taken",
    [
        "CREATE TABLE shop.orders_by_line (a int PRIMARY KEY) WITH cdc = true;",
        VIEW.replace("FROM shop.orders", "FROM shop.others"),
    ],
)
def test_a_view_whose_name_is_taken_is_left_out(taken: str) -> None:
    present = described(KEYSPACE, TYPES, ORDERS, ALTERS, INDEXES, taken)
    result = plan(CASSANDRA_41, present)
    assert result.views == ()
    assert result.notes == ("view shop.orders_by_line is not restored: another table has its name",)


def test_a_table_whose_name_a_view_has_is_a_difference() -> None:
    view = TableName("shop", "orders_by_line")
    result = plan(CASSANDRA_41, CASSANDRA_41, to=view)
    assert result.differences == (
        "table shop.orders_by_line: there is a materialized view of this name",
    )
