# SPDX-License-Identifier: Apache-2.0
"""The stored form of a setting's copy: proven by a digest, never trusted."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from typing import Any

import pytest

from magnetodb_backup.domain.settings.records import LATEST, SettingCopy, SettingKind
from magnetodb_backup.errors import CorruptObject, FormatProblem, InvalidValue
from magnetodb_backup.repository.format.names import (
    parse_setting_name,
    setting_name,
    setting_prefix,
)
from magnetodb_backup.repository.format.settings import parse_setting, setting_bytes
from tests.lab.settings import CLUSTER, ID, copy_of, key_of

KINDS = list(SettingKind)


def name_of(copy: SettingCopy) -> str:
    return setting_name(copy.key, copy.generation)


def forged(copy: SettingCopy, **changes: Any) -> bytes:
    """Return a copy with other members, and with its digest."""
    document = {**json.loads(setting_bytes(copy).splitlines()[1]), **changes}
    line = json.dumps(document).encode() + b"\n"
    header = {"format": 1, "sha256": hashlib.sha256(line).hexdigest()}
    return json.dumps(header).encode() + b"\n" + line


@pytest.mark.parametrize("kind", KINDS)
def test_a_copy_is_read_as_it_was_written(kind: SettingKind) -> None:
    for copy in (copy_of(kind), replace(copy_of(kind), setting=None)):
        text = setting_bytes(copy)
        assert parse_setting(text, name_of(copy), CLUSTER) == copy
        assert setting_bytes(copy) == text
        assert text.count(b"\n") == 2


def test_the_digest_is_that_of_the_second_line() -> None:
    header, line, _ = setting_bytes(copy_of(SettingKind.MARK)).split(b"\n")
    assert json.loads(header) == {
        "format": 1, "sha256": hashlib.sha256(line + b"\n").hexdigest(),
    }  # fmt: skip
    assert json.loads(line) == {
        "kind": "mark", "subject": ID, "cluster": CLUSTER, "generation": 1796094245678901,
        "setting": {"reason": "before the migration", "kept_at": "2026-12-01T03:04:05.678901Z"},
    }  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
def test_every_changed_byte_is_found(kind: SettingKind) -> None:
    copy = copy_of(kind)
    text = setting_bytes(copy)
    for position in range(len(text)):
        changed = bytearray(text)
        changed[position] ^= 1
        try:
            assert parse_setting(bytes(changed), name_of(copy), CLUSTER) == copy
            raise AssertionError(f"byte {position} is not proven")
        except (FormatProblem, CorruptObject):
            pass
    for end in range(len(text)):
        with pytest.raises((FormatProblem, CorruptObject)):
            parse_setting(text[:end], name_of(copy), CLUSTER)


@pytest.mark.parametrize("version", [0, 2, "1", None])
def test_an_unknown_version_is_refused(version: object) -> None:
    copy = copy_of(SettingKind.SCHEDULE)
    header, line, _ = setting_bytes(copy).split(b"\n")
    text = json.dumps({**json.loads(header), "format": version}).encode() + b"\n" + line + b"\n"
    with pytest.raises(FormatProblem, match=r"has format version .*, this version knows 1; use"):
        parse_setting(text, name_of(copy), CLUSTER)


@pytest.mark.parametrize(
    "changes",
    [
        {"kind": "other"},
        {"subject": 7},
        {"generation": "1"},
        {"setting": []},
        {"setting": {"reason": "r"}},
        {"setting": {"reason": 7, "kept_at": "2026-12-01T03:04:05Z"}},
        {"setting": {"reason": "r", "kept_at": "2026-12-01T03:04:05"}},
        {"subject": "../../x"},
        {"subject": "5c1d5a52-7c0b-4a53-8f0e-6a1f0c2d9e78"},
        {"cluster": "other"},
        {"generation": 7},
    ],
)
def test_a_copy_that_is_malformed_or_belongs_elsewhere_is_refused(changes: dict[str, Any]) -> None:
    copy = copy_of(SettingKind.MARK)
    assert parse_setting(forged(copy), name_of(copy), CLUSTER) == copy
    with pytest.raises(CorruptObject, match=r"settings/kept/.*: (malformed copy|is the copy of)"):
        parse_setting(forged(copy, **changes), name_of(copy), CLUSTER)


def test_members_that_a_newer_release_adds_are_ignored() -> None:
    copy = copy_of(SettingKind.MARK)
    document = json.loads(setting_bytes(copy).splitlines()[1])
    text = forged(copy, by="somebody", setting={**document["setting"], "until": 7})
    assert parse_setting(text, name_of(copy), CLUSTER) == copy


@pytest.mark.parametrize("kind", KINDS)
def test_a_name_leads_back_to_its_copy(kind: SettingKind) -> None:
    key = key_of(kind)
    names = [setting_name(key, generation) for generation in (0, 9, 10, LATEST)]
    assert names == sorted(names)
    assert all(name.startswith(setting_prefix(key)) for name in names)
    assert parse_setting_name(CLUSTER, names[2]) == (key, 10)


@pytest.mark.parametrize(
    "name",
    [
        "settings/",
        "settings/retention/1.json",
        f"settings/retention/{LATEST + 1:020}.json",
        f"settings/retention/{ID}/{1:020}.json",
        f"settings/kept/{1:020}.json",
        f"settings/kept/{ID.upper()}/{1:020}.json",
        f"settings/kept/../{1:020}.json",
        f"settings/kept/{ID}/x/{1:020}.json",
        f"settings/kept/{ID}/{1:020}.json\n",
        f"x/settings/kept/{ID}/{1:020}.json",
        f"settings/schedules/{ID}/{1:020}.JSON",
    ],
)
def test_no_other_name_is_that_of_a_copy(name: str) -> None:
    assert parse_setting_name(CLUSTER, name) is None


def test_no_name_is_made_from_what_is_no_id() -> None:
    with pytest.raises(InvalidValue, match=r"'\.\./x' is not the ID of a schedule"):
        setting_name(key_of(SettingKind.SCHEDULE, "../x"), 1)
