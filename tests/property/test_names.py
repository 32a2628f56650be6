# SPDX-License-Identifier: Apache-2.0
"""Names of keyspaces and tables: typed, quoted, parsed."""

from __future__ import annotations

from hypothesis import example, given
from hypothesis import strategies as st

from magnetodb_backup.domain.tables import TableName, check_name, parse_name, quote
from magnetodb_backup.errors import InvalidValue
from magnetodb_backup.tasks.kinds import backup_of_tag, snapshot_tag
from tests.property.manifests import names, uuids


@given(names, names)
def test_a_table_is_parsed_from_what_it_is_shown_as(keyspace: str, table: str) -> None:
    name = TableName(keyspace, table)
    assert TableName.parse(str(name)) == name
    assert TableName.parse(f"{keyspace}.{table}") == name
    assert TableName.parse(f'"{keyspace}"."{table}"') == name


@given(names)
def test_a_name_is_parsed_from_its_quoted_form(name: str) -> None:
    assert parse_name(quote(name)) == parse_name(name) == name


@given(names, names)
def test_different_names_are_quoted_differently(one: str, other: str) -> None:
    assert (quote(one) == quote(other)) == (one == other)


@given(names.map(lambda name: f"{name}_"))  # which no keyword ends with
def test_only_quotes_keep_case_and_leading_digits(name: str) -> None:
    folded = name == name.lower() and not name[0].isdigit() and name[0] != "_"
    assert quote(name).startswith('"') != folded


@given(st.text() | st.from_regex(r'"?[a-zA-Z./"]{0,8}"?\."?[a-zA-Z./"]{0,8}"?', fullmatch=True))
@example('"a.b".c')
@example("a.b.c")
@example('"a""b".c')
@example("../x.y")
def test_whatever_is_typed_is_a_safe_name_or_refused(text: str) -> None:
    try:
        name = TableName.parse(text)
    except InvalidValue:
        return
    for part in (name.keyspace, name.table):
        assert check_name(part, "") == part
        assert part in text


@given(uuids, st.integers(1, 10))
def test_tags_lead_back_to_their_backup(backup_id: str, round_: int) -> None:
    assert backup_of_tag(snapshot_tag(backup_id, round_)) == backup_id


@given(st.text())
def test_no_other_tag_does(tag: str) -> None:
    backup_id = backup_of_tag(tag)
    assert backup_id is None or tag.startswith(snapshot_tag(backup_id, 0)[:-1])
