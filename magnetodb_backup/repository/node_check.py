# SPDX-License-Identifier: Apache-2.0
"""Verifies one node backup; an interrupted one that has a journal continues."""

from __future__ import annotations

import hashlib
import itertools
import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from magnetodb_backup.domain.backup.manifest import Extent, NodeShare, StoredObject
from magnetodb_backup.domain.backup.records import Progress
from magnetodb_backup.domain.backup.sample import Sample
from magnetodb_backup.domain.tables import TableName
from magnetodb_backup.errors import FormatProblem, NotFound, ObjectTooShort
from magnetodb_backup.repository.check_journal import Checked, Journal, NoJournal, Position
from magnetodb_backup.repository.cluster import ClusterRepository
from magnetodb_backup.repository.extents import PackExtents
from magnetodb_backup.repository.findings import DESCRIBED, FURTHER, Findings, NodeChecked, Problem
from magnetodb_backup.repository.node import NodeRepository

LOG = logging.getLogger(__name__)
_WITH_NAMES = 200  # problems of a node that name their files
_LOST = "the pack is not in the store"


@dataclass(frozen=True)
class CheckPlan:
    """What is verified: that packs exist, or with ``read_data`` every byte, or those of a sample.

    ``described`` and ``further`` bound the result: see ``Findings``. ``journal_every`` is the
    greatest time in seconds between two entries of the journal, apart from the time for one pack.
    """

    read_data: bool
    sample: Sample | None = None
    described: int = DESCRIBED
    further: int = FURTHER
    journal_every: float = 1.0

    def chooses(self, pack: str) -> bool:
        """Return whether the bytes of a pack are to be read."""
        return self.read_data and (self.sample is None or self.sample.has(pack))


@dataclass(frozen=True)
class CheckedNode:
    """The node of a node backup, and the node manifest that the backup manifest names."""

    host_id: str
    address: str
    manifest: StoredObject

    @classmethod
    def of(cls, share: NodeShare) -> CheckedNode:
        """Return what a backup manifest names."""
        return cls(share.host_id, share.address, share.manifest)


@dataclass(frozen=True)
class CheckHooks:
    """What the caller of a check is asked and shown.

    ``raise_if_cancelled`` is called before each pack, ``moved`` with each piece that is read.
    """

    raise_if_cancelled: Callable[[], None]
    progress: Callable[[Progress], None] = lambda progress: None
    moved: Callable[[], None] = lambda: None


def check_node(
    cluster: ClusterRepository,
    packs: NodeRepository,
    backup_id: str,
    node: CheckedNode,
    plan: CheckPlan,
    hooks: CheckHooks,
    journal: Journal | None = None,
) -> NodeChecked:
    """Verify one node backup.

    Packs that are not in a sample are only looked for. An earlier attempt with the same
    ``journal`` is continued.
    """
    check = _NodeCheck(packs, node, plan, hooks, journal or NoJournal())
    try:
        if check.read_manifest(cluster, backup_id):
            check.run()
        return check.result()
    finally:
        check.close()


class _NodeCheck:
    def __init__(
        self,
        repository: NodeRepository,
        node: CheckedNode,
        plan: CheckPlan,
        hooks: CheckHooks,
        journal: Journal,
    ) -> None:
        self._repository, self._node, self._plan, self._hooks = repository, node, plan, hooks
        self._journal, self._extents = journal, PackExtents()
        self._findings = Findings(plan.described, plan.further)
        self._position = Position(journal, plan.journal_every)
        self._files = self._bytes = self._packs = 0
        self._manifest_read = self._reading = False
        self._to_read = Progress()
        self._damaged: set[str] = set()

    def close(self) -> None:
        self._extents.close()

    def result(self) -> NodeChecked:
        amounts = {
            "files": self._files,
            "bytes": self._bytes,
            "packs": self._packs,
            "packs_read": self._position.packs,
            "bytes_read": self._position.bytes_read,
        }
        host_id, read = self._node.host_id, self._manifest_read
        return self._findings.of_node(host_id, amounts, manifest_read=read)

    def read_manifest(self, cluster: ClusterRepository, backup_id: str) -> bool:
        """Read the node manifest; return whether it is that of the backup."""
        host_id = self._node.host_id
        try:
            found = cluster.digest_node_manifest(backup_id, host_id)
            if found != self._node.manifest:
                self._problem("manifest", f"{found.name} does not match the backup manifest")
                return False
            for entry in cluster.node_manifest(backup_id, host_id):
                self._extents.add(self._files, entry)
                self._files += 1
                self._bytes += entry.size
        except (FormatProblem, NotFound) as error:
            self._problem("manifest", str(error))
            return False
        self._extents.complete()
        self._manifest_read = True
        return True

    def run(self) -> None:
        """Read the packs that are to be read, and look for the others."""
        chooses = self._plan.chooses
        if not self._plan.read_data or self._plan.sample is not None:
            self._look_for(self._extents.packs(lambda pack: not chooses(pack)))
        if self._plan.read_data:
            self._count_what_to_read()
            self._continue()
            self._reading = True
            self._read()
            self._position.write()

    # Looking for packs.

    def _look_for(self, packs: Iterator[tuple[str, int]]) -> None:
        names, leasts = itertools.tee(packs)
        sizes = self._repository.pack_sizes((p for p, _ in names), self._hooks.raise_if_cancelled)
        for (pack, size), (_, least) in zip(sizes, leasts, strict=True):
            self._is_whole(pack, least, size)
            self._hooks.moved()
            self._packs += 1

    def _is_whole(self, pack: str, least: int, size: int | None) -> bool:
        if size is None:
            self._damage("missing", _LOST, pack)
        elif size < least:
            self._damage("size", f"the pack has {size} bytes, at least {least} are needed", pack)
        return size is not None and size >= least

    # Reading packs.

    def _count_what_to_read(self) -> None:
        size, chooses = 0, self._plan.chooses
        for _, least in self._extents.packs(chooses):
            self._packs, size = self._packs + 1, size + least
        size += sum(e.length for *_, parts in self._extents.spanned(chooses) for e in parts)
        self._to_read = Progress(files_total=self._extents.files_in(chooses), bytes_total=size)
        self._position.files = self._extents.files_in(lambda pack: False)  # empty ones

    def _continue(self) -> None:
        """Take over what earlier attempts have read.

        A journal that counts other packs than there are up to its end is of no use.
        """
        last = Checked()
        for last in self._journal.load():  # noqa: B007 - the last one
            pass
        packs = self._extents.packs(self._plan.chooses)
        count = sum(1 for _ in itertools.takewhile(lambda row: row[0] <= last.pack, packs))
        if count != last.packs:
            LOG.warning(
                "the notes of an earlier attempt on node backup %s do not fit; reading all of it",
                self._node.host_id,
            )
            self._journal.clear()
        elif last != Checked():
            for entry in self._journal.load():
                self._take_over(entry)
            self._position.begin_at(last)

    def _take_over(self, entry: Checked) -> None:
        for problem in entry.problems:
            if problem.kind != "content":
                self._damaged.add(problem.pack)
        tables = {TableName(keyspace, table): text for keyspace, table, text in entry.tables}
        self._findings.add(entry.problems, tables)

    def _read(self) -> None:
        chooses, position = self._plan.chooses, self._position
        for pack, least in self._extents.packs(chooses, after=position.pack):
            self._hooks.raise_if_cancelled()
            self._read_pack(pack, least)
            position.has_read_pack(pack)
            self._show()
        for number, path, sha256, parts in self._extents.spanned(chooses, after=position.file):
            if not self._damaged.intersection(e.pack for e in parts):
                self._read_spanned(path, sha256, parts)
            position.has_read_file(number)
            self._show()

    def _read_pack(self, pack: str, least: int) -> None:
        try:
            body = b"".join(self._pieces(pack))
        except NotFound:
            self._damage("missing", _LOST, pack)
            return
        if not self._is_whole(pack, least, len(body)):
            return
        digest = hashlib.sha256(body).hexdigest()
        if digest != pack:
            self._damage("corrupt", f"the pack's bytes have SHA-256 {digest}", pack)
            return
        view = memoryview(body)
        for path, sha256, start, length in self._extents.whole_in(pack):
            if hashlib.sha256(view[start : start + length]).hexdigest() != sha256:
                self._content(path, pack)
            self._position.files += 1

    def _read_spanned(self, path: str, sha256: str, parts: list[Extent]) -> None:
        digest = hashlib.sha256()
        for part in parts:
            self._hooks.raise_if_cancelled()
            try:
                for piece in self._pieces(part.pack, part.offset, part.length):
                    digest.update(piece)
            except NotFound:  # it was there a moment ago
                self._damage("missing", _LOST, part.pack)
                return
            except ObjectTooShort as error:
                self._damage("size", str(error), part.pack)
                return
        if digest.hexdigest() != sha256:
            self._content(path, "")
        self._position.files += 1

    def _pieces(self, pack: str, offset: int = 0, length: int | None = None) -> Iterator[bytes]:
        for piece in self._repository.read_pack(pack, offset, length):
            self._position.bytes_read += len(piece)
            self._hooks.moved()
            self._show()
            yield piece

    def _show(self) -> None:
        done = self._position
        shown = replace(self._to_read, files_done=done.files, bytes_done=done.bytes_read)
        self._hooks.progress(shown)

    # What is found.

    def _damage(self, kind: str, detail: str, pack: str) -> None:
        """Note a pack that cannot be used, and the files and tables that need it."""
        files, count = self._extents.affected(pack)
        text = self._located(f"{kind} pack {pack}: {detail}")
        tables = dict.fromkeys(self._extents.tables_in(pack), text)
        if self._findings.count >= _WITH_NAMES:
            files = ()
        self._damaged.add(pack)
        self._problem(kind, detail, pack, files, count, tables)

    def _content(self, path: str, pack: str) -> None:
        """Note a file whose bytes are not those of the backup."""
        keyspace, table, *_ = path.split("/")
        detail = f"{path} does not match the node manifest"
        tables = {TableName(keyspace, table): self._located(detail)}
        self._problem("content", detail, pack, tables=tables)

    def _located(self, detail: str) -> str:
        return f"node {self._node.address}: {detail}"

    def _problem(
        self,
        kind: str,
        detail: str,
        pack: str = "",
        files: tuple[str, ...] = (),
        file_count: int = 0,
        tables: dict[TableName, str] | None = None,
    ) -> None:
        problem = Problem(self._node.host_id, kind, pack, detail, files, file_count)
        self._findings.add([problem], tables)
        if self._reading:
            if self._findings.count > self._plan.described:
                problem = replace(problem, detail="", files=())  # only its pack is needed again
            self._position.found(problem, tables or {})
