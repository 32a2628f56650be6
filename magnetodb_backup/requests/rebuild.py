# SPDX-License-Identifier: Apache-2.0
"""Rebuilds the catalogue: records what the store has, compares what is recorded."""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING, Protocol

from magnetodb_backup.domain.backup.from_manifest import as_deleted, records_of
from magnetodb_backup.domain.backup.records import Backup, BackupOutline, NodeBackup
from magnetodb_backup.domain.backup.status import BackupStatus
from magnetodb_backup.domain.settings.records import MarkSetting
from magnetodb_backup.errors import InvalidValue, NotFound
from magnetodb_backup.repository.format.names import cluster_container, containers_prefix
from magnetodb_backup.repository.stored_backups import StoredBackup, StoredBackups, UnreadableBackup
from magnetodb_backup.requests.rebuild_finding import ADDED, WOULD_BE_ADDED, Finding
from magnetodb_backup.requests.rebuild_settings import SettingRebuild

if TYPE_CHECKING:
    from magnetodb_backup.database import BackupStore

_WHOLE = (BackupStatus.CREATED, BackupStatus.PARTIAL)
_ENDED_WITHOUT = (BackupStatus.CREATE_FAILED, BackupStatus.CANCELLED)
_AT_ONCE = 100  # backups in a transaction
_LARGEST = 8 << 20  # bytes of their manifests
_CHECK = (
    "check [storage] driver and prefix, and in the driver's section the account (user, project, "
    "region) or path"
)


class Watcher(Protocol):
    """Is called as the rebuild proceeds."""

    def begin(self, cluster: str, manifests: int) -> None:
        """So many manifests of a cluster will be read."""

    def advance(self) -> None:
        """One of them is read."""

    def note(self, text: str) -> None:
        """Something is no finding about a backup, but worth knowing."""


class Thoroughness(enum.Enum):
    """Whether manifests of recorded backups are read, and compared with the records."""

    COMPARE = "compare"
    ONLY_NEW = "only new"


@dataclass(frozen=True)
class _Found:
    """The part of a stored backup that is recorded; SHA-256 and size are of its manifest."""

    backup: Backup
    nodes: tuple[NodeBackup, ...]
    size: int


_Part = Callable[[StoredBackup], _Found]


def _part_with(marks: Mapping[str, MarkSetting]) -> _Part:
    """Return what makes the records of a stored backup, with its mark.

    Both are recorded in one transaction: no policy must see a kept backup without its mark.
    """

    def part(stored: StoredBackup) -> _Found:
        backup, nodes = records_of(stored.manifest, stored.manifest_sha256)
        if (deleted := stored.deleted) is not None:
            backup = as_deleted(backup, deleted.deleted_at, deleted.undelete_until)
        if (mark := marks.get(backup.id)) is not None:
            backup = replace(backup, kept_reason=mark.reason, kept_at=mark.kept_at)
        return _Found(backup, nodes, stored.manifest_size)

    return part


class Rebuild:
    """Compares the store with the records, and records what is missing unless ``dry_run``.

    It may be interrupted and repeated: what is recorded stays, and no record of a backup is
    changed. With ``as_of`` the store is as it was then: what it lacked may have been stored since,
    and what is recorded from it has a note.
    """

    def __init__(
        self,
        backups: BackupStore,
        stored: StoredBackups,
        watcher: Watcher,
        settings: SettingRebuild,
        *,
        dry_run: bool = False,
        thoroughness: Thoroughness = Thoroughness.COMPARE,
        as_of: datetime | None = None,
    ) -> None:
        self._backups, self._stored, self._watcher = backups, stored, watcher
        self._settings, self._dry_run, self._as_of = settings, dry_run, as_of
        self._only_new = thoroughness is Thoroughness.ONLY_NEW

    def run(self, only: str | None) -> Iterator[Finding]:
        """Yield the findings of one cluster, or of all that the store or a record names.

        Those about backups come first, by age, then those about settings.

        :raises NotFound: if there is none.
        """
        recorded = set(self._backups.clusters()) if only is None else {only}
        stored = set(self._stored.clusters()) if only is None else set()
        if not recorded | stored:
            raise NotFound(
                "the store has no cluster's container: none is named "
                f"{containers_prefix(self._stored.prefix)}NAME; {_CHECK}"
            )
        for cluster in sorted(recorded | stored):
            known = self._backups.outlines(cluster)
            settings = self._settings.read(cluster)
            listed, unlisted = self._cluster(cluster, known, _part_with(settings.marks))
            if not listed:
                problem = self._nothing_of(cluster)
                whole = any(outline.status in _WHOLE for outline in known.values())
                if only is not None and not whole and not settings:
                    raise NotFound(problem)
                self._watcher.note(problem)
            findings = sorted(listed + unlisted, key=_by_age)
            yield from findings
            new = {f.id for f in findings if f.result in (ADDED, WOULD_BE_ADDED)}
            yield from self._settings.findings(cluster, settings, new)

    def _cluster(
        self, cluster: str, known: dict[str, BackupOutline], part: _Part
    ) -> tuple[list[Finding], list[Finding]]:
        """Return the findings about listed backups, and about recorded ones that are not listed."""
        ids = tuple(self._stored.ids(cluster))
        rest = {id_ for id_, outline in known.items() if outline.status in _WHOLE}.difference(ids)
        to_read = [id_ for id_ in ids if not (self._only_new and id_ in known)]
        self._watcher.begin(cluster, len(to_read) + len(rest))
        listed = [
            _finding(known[id_], "known")
            for id_ in set(ids).difference(to_read)
            if known[id_].status in _WHOLE
        ]
        listed += self._compared(self._stored.listed(cluster, to_read, part), known)
        # A listing lags: what it lacks may exist.
        return listed, [*self._compared(self._stored.named(cluster, sorted(rest), part), known)]

    def _compared(
        self,
        read: Iterable[_Found | UnreadableBackup | None],
        known: dict[str, BackupOutline],
    ) -> Iterator[Finding]:
        """Yield findings; what is not recorded is kept until there are enough for a transaction."""
        new: list[_Found] = []
        for found in read:
            self._watcher.advance()
            if isinstance(found, UnreadableBackup):
                yield from self._unreadable(found)
            elif found is None:
                continue
            elif found.backup.id in known:
                yield self._judged(found, known[found.backup.id])
            elif self._dry_run:
                yield _finding(found.backup, WOULD_BE_ADDED)
            else:
                new.append(found)
                if len(new) >= _AT_ONCE or sum(each.size for each in new) >= _LARGEST:
                    yield from self._learn(new)
                    new = []
        yield from self._learn(new)

    def _learn(self, new: list[_Found]) -> Iterator[Finding]:
        """Record backups; if one of them cannot be recorded, the others are."""
        try:
            added = self._backups.learn_all([(self._noted(f.backup), f.nodes) for f in new])
        except InvalidValue as error:
            if len(new) == 1:
                yield _finding(new[0].backup, f"unreadable: {error}", doubtful=True)
                return
            for found in new:
                yield from self._learn([found])
            return
        for found in new:
            if found.backup.id in added:
                yield _finding(found.backup, ADDED)
            else:  # recorded meanwhile
                yield self._judged(found, self._record(found.backup.id))

    def _noted(self, backup: Backup) -> Backup:
        """Return the backup with a note if the store of today may lack it."""
        if self._as_of is None:
            return backup
        note = (
            f"recorded from the store as it was at {self._as_of.isoformat()}; if the store has "
            "lost objects since, restore by restore create --as-of with this time"
        )
        return replace(backup, notes=(*backup.notes, note))

    def _judged(self, found: _Found, known: BackupOutline | Backup | None) -> Finding:
        """Return the finding; before one that needs attention, the record is read again."""
        judge = _judgement if self._as_of is None else _judgement_of_the_past
        finding = judge(found.backup, known)
        if finding.doubtful and isinstance(known, BackupOutline):
            return judge(found.backup, self._record(known.id))
        return finding

    def _unreadable(self, found: UnreadableBackup) -> Iterator[Finding]:
        known = self._record(found.backup_id)
        if found.absent and known is not None:
            # By its status the record has no manifest, so its absence is no finding.
            if known.status in _WHOLE and self._as_of is None:
                yield _finding(known, "manifest missing", doubtful=True)
            return
        reason = f"unreadable: {found.reason}"
        if known is not None:
            yield _finding(known, reason, doubtful=True)
        else:
            yield Finding(found.backup_id, found.cluster, reason, doubtful=True)

    def _record(self, backup_id: str) -> Backup | None:
        try:
            return self._backups.get(backup_id)
        except NotFound:
            return None

    def _nothing_of(self, cluster: str) -> str:
        container = cluster_container(self._stored.prefix, cluster)
        return (
            f"the store has no backup of cluster {cluster!r} in container {container}; if there "
            f"should be one, check the cluster's name; {_CHECK}"
        )


def _by_age(finding: Finding) -> tuple[bool, float, str]:
    """Order by age; what has no time comes last."""
    created = finding.created_at
    return created is None, created.timestamp() if created else 0.0, finding.id


def _finding(backup: Backup | BackupOutline, result: str, *, doubtful: bool = False) -> Finding:
    return Finding(
        backup.id,
        backup.cluster,
        result,
        doubtful,
        backup.name,
        backup.status.value,
        backup.created_at,
    )


def _judgement(stored: Backup, known: Backup | BackupOutline | None) -> Finding:
    """Return the finding about a backup that is in the store and, as ``known``, recorded.

    It is DELETED if the store keeps its manifest so that it can be undeleted.
    """
    if known is None:
        return _finding(stored, WOULD_BE_ADDED)
    if stored.status is BackupStatus.DELETED:
        return _judgement_of_deleted(known)
    if known.status in _ENDED_WITHOUT:
        text = f"known as {known.status.value}, but its manifest is in the store; delete it"
        return _finding(known, text, doubtful=True)
    if known.status is BackupStatus.DELETED:
        text = "known as DELETED, but its manifest is in the store"
        return _finding(known, text, doubtful=True)
    if known.status in _WHOLE and known.manifest_sha256 != stored.manifest_sha256:
        text = "known, but the store has another manifest of it"
        return _finding(known, text, doubtful=True)
    return _finding(known, "known")


def _judgement_of_the_past(stored: Backup, known: Backup | BackupOutline | None) -> Finding:
    """Return the finding about a backup that was in the store: its status may differ since."""
    deleted = known is not None and BackupStatus.DELETED in (stored.status, known.status)
    if known is not None and deleted and known.status not in _ENDED_WITHOUT:
        return _finding(known, "known")
    return _judgement(stored, known)


def _judgement_of_deleted(known: Backup | BackupOutline) -> Finding:
    if known.status not in _WHOLE:
        return _finding(known, "known")
    text = (
        f"known as {known.status.value}, but the store has it as deleted; delete it, then "
        "undelete it if it is needed"
    )
    return _finding(known, text, doubtful=True)
