# SPDX-License-Identifier: Apache-2.0
"""The backups that retention decides on, and the groups in which it compares them."""

from __future__ import annotations

import enum
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from magnetodb_backup.domain.backup.status import BackupStatus

_LISTS = {"keyspaces": "keyspaces", "tables": "tables"}  # by type: the order means nothing


class State(str, enum.Enum):
    """What retention knows of a backup. Only a RESTORABLE one counts for a promise.

    DAMAGED ones are complete, but a verification or an upload has found them damaged; FAILED ones
    failed or were cancelled; DELETION_FAILED ones are to be deleted since an earlier request.
    """

    RESTORABLE = "restorable"
    PARTIAL = "partial"
    DAMAGED = "damaged"
    FAILED = "failed"
    DELETION_FAILED = "deletion-failed"

    @property
    def has_data(self) -> bool:
        """True for backups that can be restored, at least in part."""
        return self in (State.RESTORABLE, State.PARTIAL, State.DAMAGED)


_STATES = {
    BackupStatus.CREATED: State.RESTORABLE,
    BackupStatus.PARTIAL: State.PARTIAL,
    BackupStatus.CREATE_FAILED: State.FAILED,
    BackupStatus.CANCELLED: State.FAILED,
    BackupStatus.DELETE_FAILED: State.DELETION_FAILED,
}


def state_of(status: BackupStatus, *, damaged: bool) -> State | None:
    """Return the state of a backup, None for one that runs, is being deleted or is deleted."""
    state = _STATES.get(status)
    return State.DAMAGED if damaged and state is State.RESTORABLE else state


@dataclass(frozen=True)
class Candidate:
    """A backup that retention keeps or lets expire.

    ``moment`` is its end: what it restores existed then or earlier. ``group`` is that of its scope.
    ``kept_reason`` is why it is to be kept for ever, empty if it is not. ``schedule_id`` is that of
    the schedule that made it, if the schedule has a policy of its own; else it is empty.
    """

    id: str
    group: str
    state: State
    moment: datetime
    kept_reason: str = ""
    name: str = ""
    schedule_id: str = ""

    @property
    def kept(self) -> bool:
        """True if the backup is to be kept for ever."""
        return bool(self.kept_reason) and self.state.has_data


def group_of(scope: Mapping[str, Any], data_centers: Iterable[str] = ()) -> str:
    """Return the group of backups with this scope of these data centres, as JSON.

    Names in another order, or twice, make no other group.
    """
    parameters = dict(scope)
    key = _LISTS.get(str(scope.get("type")))
    if key is not None and isinstance(names := scope.get(key), list):
        parameters[key] = sorted({str(name) for name in names})
    group: dict[str, Any] = {"scope": parameters}
    if chosen := sorted(set(data_centers)):
        group["data_centers"] = chosen
    return json.dumps(group, sort_keys=True, separators=(",", ":"))


def group_text(group: str) -> str:
    """Return a group in words."""
    found = json.loads(group)
    scope = found["scope"]
    kind, rest = scope.get("type"), {k: v for k, v in scope.items() if k != "type"}
    if kind == "all" and not rest:
        text = "all keyspaces"
    elif kind in _LISTS and list(rest) == [kind]:
        text = f"{kind} {', '.join(rest[kind])}"
    else:
        text = f"{kind} {json.dumps(rest)}" if rest else str(kind)
    centers: Sequence[str] = found.get("data_centers", ())
    return f"{text} of {', '.join(centers)}" if centers else text


def newest_first(candidates: Iterable[Candidate]) -> list[Candidate]:
    """Return the candidates, newest first; those of one moment in a fixed order."""
    return sorted(candidates, key=lambda c: (c.moment, c.id), reverse=True)


def grouped(candidates: Iterable[Candidate]) -> dict[str, list[Candidate]]:
    """Return the candidates by group, newest first."""
    groups: dict[str, list[Candidate]] = {}
    for candidate in newest_first(candidates):
        groups.setdefault(candidate.group, []).append(candidate)
    return dict(sorted(groups.items()))


def restorable(candidates: Iterable[Candidate]) -> list[Candidate]:
    """Return those that count for a promise."""
    return [c for c in candidates if c.state is State.RESTORABLE]
