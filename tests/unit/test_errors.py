# SPDX-License-Identifier: Apache-2.0
"""Errors keep their kind and their text on the bus and in the database."""

from __future__ import annotations

import json

import pytest

from magnetodb_backup.errors import BackupError, NotFound, Permanent, Transient, from_record


def kinds(parent: type[BackupError]) -> list[type[BackupError]]:
    direct = parent.__subclasses__()
    return [*direct, *(kind for child in direct for kind in kinds(child))]


ALL = [*kinds(Transient), *kinds(Permanent)]


@pytest.mark.parametrize("kind", ALL, ids=lambda kind: kind.__name__)
def test_errors_survive_their_records(kind: type[BackupError]) -> None:
    record = json.loads(json.dumps(kind("disk “a” is full").as_record()))
    assert record == {"code": kind.__name__, "message": "disk “a” is full"}
    again = from_record(record)
    assert type(again) is kind
    assert str(again) == "disk “a” is full"


def test_every_error_is_either_worth_another_try_or_not() -> None:
    for kind in ALL:
        assert issubclass(kind, Transient) != issubclass(kind, Permanent)
    assert len({kind.__name__ for kind in ALL}) == len(ALL)


@pytest.mark.parametrize(
    "record", [{"code": "OfANewerVersion", "message": "text"}, {"message": "text"}], ids=str
)
def test_unknown_errors_end_a_job_and_keep_their_text(record: dict[str, object]) -> None:
    error = from_record(record)
    assert isinstance(error, Permanent)
    assert error.code == "Unexpected"
    assert str(error) == "text"


def test_a_record_without_a_text_is_an_error_too() -> None:
    assert isinstance(from_record({"code": "NotFound"}), NotFound)
    assert from_record({}).code == "Unexpected"
