# SPDX-License-Identifier: Apache-2.0
"""Lives through histories on a real node and the real service, many at a time.

All of them have one backup; those that are restored in place in the same way have one restore.
"""

from __future__ import annotations

import enum
import re
import traceback
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import count
from typing import Any

from magnetodb_backup.domain.restore.records import Existing
from tests.lab.deployment import Outcome
from tests.lab.histories.model import Keyspace
from tests.lab.histories.node import HistoryNode
from tests.lab.histories.story import History, Story, tell

_THREADS = 4

Manage = Callable[..., Outcome]  # runs magnetodb-backup-manage with arguments


class What(enum.Enum):
    """What failed."""

    MODEL = "the model is wrong"
    BACKUP = "no backup"
    REFUSAL = "refused without reason, or not refused"
    RESTORE = "the restore failed"
    ROWS = "wrong rows after the restore"
    LATER = "wrong rows after writes to the restored tables"


@dataclass(frozen=True)
class Failure:
    """A failure of one history; ``text`` has the story."""

    what: What
    text: str


class Bench:
    """Lives through batches of histories; each drops the keyspaces of the one before."""

    def __init__(self, node: HistoryNode, manage: Manage) -> None:
        self._node, self._manage = node, manage
        self._numbers = count()
        self._used: list[str] = []

    def live(self, histories: Sequence[History]) -> list[Failure | None]:
        """Live through histories together; return what failed of each."""
        self._node.drop(self._used)
        stories = [tell(history, f"h{next(self._numbers)}") for history in histories]
        self._used = [name for story in stories for name in (story.keyspace, story.beside)]
        batch = _Batch(self._node, self._manage, stories)
        batch.live()
        return [batch.failures.get(story.keyspace) for story in stories]


class _Batch:
    def __init__(self, node: HistoryNode, manage: Manage, stories: Sequence[Story]) -> None:
        self._node, self._manage, self._stories = node, manage, stories
        self.failures: dict[str, Failure] = {}

    def live(self) -> None:
        self._each(lambda story: self._node.execute(story.before))
        self._settle(0)
        self._compare(What.MODEL, lambda story: (story.backup,))
        backup = self._back_up()
        self._each(lambda story: self._node.execute(story.after))
        self._settle(1)
        self._compare(What.MODEL, lambda story: (story.present,))
        ids = self._node.table_ids()
        for existing in Existing:
            self._restore_together(backup, existing)
        for story in self._left():
            if story.is_alone:
                self._is_refused(backup, [story])
        self._compare(What.ROWS, lambda story: story.restored())
        self._compare_ids(ids)
        self._each(lambda story: self._node.execute(story.then))
        self._compare(What.LATER, lambda story: story.ended())

    def _left(self) -> list[Story]:
        return [s for s in self._stories if s.keyspace not in self.failures]

    def _fail(self, story: Story, what: What, text: str) -> None:
        text = f"{what.value}: {text}\n{story.text()}"
        self.failures.setdefault(story.keyspace, Failure(what, text))

    def _each(self, action: Callable[[Story], None]) -> None:
        """Do something for each story, for some at once. A statement that fails is the model's."""

        def act(story: Story) -> None:
            try:
                action(story)
            except Exception:  # noqa: BLE001 - whatever it was, the failure shows it
                self._fail(story, What.MODEL, traceback.format_exc(limit=-3))

        with ThreadPoolExecutor(_THREADS) as pool:
            list(pool.map(act, self._left()))

    def _settle(self, part: int) -> None:
        if any(story.expires[part] for story in self._left()):
            self._node.wait_expired()

    def _compare(self, what: What, expected: Callable[[Story], Sequence[Keyspace]]) -> None:
        def compare(story: Story) -> None:
            if differences := self._node.differences(expected(story)):
                self._fail(story, what, differences)

        self._each(compare)

    def _compare_ids(self, before: dict[tuple[str, str], str]) -> None:
        """A table that is dropped and created again has another ID."""
        now = self._node.table_ids()
        for story in self._left():
            changed = [
                table
                for (keyspace, table), id_ in before.items()
                if keyspace == story.keyspace and now.get((keyspace, table)) != id_
            ]
            if changed:
                self._fail(story, What.ROWS, f"{', '.join(changed)} were dropped")

    def _back_up(self) -> str:
        names = [f"--keyspace={story.keyspace}" for story in self._left()]
        outcome = self._manage("backup", "create", "--wait", "--timeout=240", *names)
        if outcome.code:
            for story in self._left():
                self._fail(story, What.BACKUP, outcome.err)
            return ""
        return str(outcome.json["id"])

    def _restore_together(self, backup: str, existing: Existing) -> None:
        """Restore all stories of a mode in place: first with those that must be refused."""
        stories = [s for s in self._left() if s.request.existing is existing and not s.is_alone]
        while stories and self._is_refused(backup, stories):
            left = [s for s in stories if s in self._left() and not s.refused()]
            if left == stories:
                self._fail_all(stories, What.REFUSAL, "a refusal that names none of the tables")
                return
            stories = left

    def _is_refused(self, backup: str, stories: Sequence[Story]) -> bool:
        """Restore stories together; return whether that was refused, be it right or wrong."""
        existing = stories[0].request.existing
        options = [option for story in stories for option in story.options()]
        outcome = self._manage(
            "restore", "create", backup, f"--existing={existing.value}", "--wait",
            "--timeout=280", *options,
        )  # fmt: skip
        problems = list(_problems(outcome))
        for story in stories:
            named = [t for t in story.targets() if any(_names(t, p) for p in problems)]
            if sorted(named) != sorted(story.refused()):
                predicted = f"refused because of {named}, predicted {story.refused()}"
                self._fail(story, What.REFUSAL, f"{predicted}: {outcome.err}")
        if problems:
            states = set(_record(outcome)["tables"].values())
            if not outcome.code or states - {"untouched"}:
                self._fail_all(stories, What.REFUSAL, f"refused with changes: {outcome.out}")
            return True
        if outcome.code and len(stories) > 1:
            self._restore_alone(backup, stories, outcome)
        elif outcome.code:
            self._fail(stories[0], What.RESTORE, outcome.err)
        return False

    def _restore_alone(self, backup: str, stories: Sequence[Story], together: Outcome) -> None:
        """Find out which story lets the restore of all fail; if none does, all have failed."""
        for story in stories:
            self._is_refused(backup, [story])
        if all(story in self._left() for story in stories):
            self._fail_all(stories, What.RESTORE, together.err)

    def _fail_all(self, stories: Sequence[Story], what: What, text: str) -> None:
        for story in stories:
            self._fail(story, what, text)


def _problems(outcome: Outcome) -> Iterator[str]:
    yield from (_record(outcome).get("plan") or {}).get("problems", ())


def _record(outcome: Outcome) -> dict[str, Any]:
    """Return a restore's record; empty if the request was not taken."""
    return dict(outcome.json) if outcome.out.strip() else {}


def _names(table: str, problem: str) -> bool:
    return re.search(rf"(?<![\w.]){re.escape(table)}(?![\w.])", problem) is not None
