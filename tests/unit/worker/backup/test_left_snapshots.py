# SPDX-License-Identifier: Apache-2.0
"""What ended backups have left is removed beside the reports."""

from __future__ import annotations

import threading

import pytest

from magnetodb_backup.errors import BackupError, CassandraUnavailable, Unexpected
from magnetodb_backup.worker.backup.left_snapshots import LeftSnapshots
from tests.lab.processes import wait_for


class Removal:
    """Removes one snapshot at a time; ``errors`` are raised in turn."""

    def __init__(self, *errors: Exception) -> None:
        self.errors, self.log = list(errors), list[str]()
        self.go_on = threading.Event()
        self.go_on.set()

    def __call__(self, tag: str) -> None:
        assert self.go_on.wait(30)
        self.log.append(tag)
        if self.errors:
            raise self.errors.pop(0)

    def wait(self, attempts: int) -> None:
        wait_for(lambda: len(self.log) == attempts, deadline=10, what="removals", interval=0.005)


def test_snapshots_are_removed_in_turn_and_once() -> None:
    removal = Removal()
    removal.go_on.clear()
    left = LeftSnapshots(removal)
    for tag in ("a", "b", "a", "b"):
        left.remove(tag)
    removal.go_on.set()
    removal.wait(2)
    assert removal.log == ["a", "b"]
    left.remove("c")
    removal.wait(3)


@pytest.mark.parametrize(
    ("error", "kind"),
    [(CassandraUnavailable("down"), CassandraUnavailable), (ZeroDivisionError(), Unexpected)],
)
def test_an_error_is_raised_at_the_next_call_and_tried_again_later(
    error: Exception, kind: type[BackupError]
) -> None:
    removal = Removal(error)
    left = LeftSnapshots(removal, pause=0.0)

    def failed() -> bool:
        try:
            left.remove("a")
        except kind:
            return True
        return False

    wait_for(failed, deadline=10, what="the error", interval=0.005)
    removal.wait(2)


def test_a_failed_removal_costs_no_command_with_each_report() -> None:
    removal = Removal(CassandraUnavailable("down"))
    left = LeftSnapshots(removal)
    left.remove("a")
    removal.wait(1)

    def failed() -> bool:
        with pytest.raises(CassandraUnavailable, match="down"):
            left.remove("a")
        return True

    wait_for(failed, deadline=10, what="the error", interval=0.005)
    for _ in range(5):
        assert failed()
    assert removal.log == ["a"]
