# SPDX-License-Identifier: Apache-2.0
"""What a request means where it says nothing."""

from __future__ import annotations

from dataclasses import astuple

from magnetodb_backup.domain.backup.records import BackupRequest, Progress


def test_a_request_wants_a_full_and_sound_backup_of_every_node_unless_it_says_so() -> None:
    request = BackupRequest({"type": "all"})
    assert (request.type, request.allow_partial, request.on_corrupt) == ("full", False, "fail")
    assert (request.name, request.cluster) == ("", None)


def test_progress_begins_with_nothing() -> None:
    assert set(astuple(Progress())) == {0}
