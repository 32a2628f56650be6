# SPDX-License-Identifier: Apache-2.0
"""All errors of the project: Transient (retried) or Permanent (ends the job)."""

from __future__ import annotations

from collections.abc import Mapping


class BackupError(Exception):
    """Base of the project's errors; the text names the wrong value and the remedy."""

    def __str__(self) -> str:
        # File names may have bytes that are not characters, which logs and the bus refuse.
        return super().__str__().encode(errors="backslashreplace").decode()

    @property
    def code(self) -> str:
        """The error's name as it appears in records and on the bus."""
        return type(self).__name__

    def as_record(self) -> dict[str, str]:
        """Return the form that is sent over the bus and stored in the database."""
        return {"code": self.code, "message": str(self)}


class Transient(BackupError):
    """May pass without intervention: retried with back-off inside a deadline.

    ``retry_after`` is how many seconds the other side asked to wait, 0 if it did not.
    """

    retry_after: float = 0.0


class Permanent(BackupError):
    """Does not pass without intervention: ends the job at once."""


class CassandraUnavailable(Transient):
    """The local Cassandra node does not answer."""


class ImportRuns(Transient):
    """Cassandra may still be importing the files that are to be removed."""


class StagingHeld(Transient):
    """Another restore works with the fetched files that this one needs."""


class StreamFailed(Transient):
    """Nodes did not accept all streamed SSTables."""


class StorageUnavailable(Transient):
    """The object store does not answer, or answers that it is overloaded."""


class IncompleteBody(Transient):
    """A body was shorter, longer or other than announced; a repetition may succeed."""


class FileChanged(Transient):
    """A file changed while it was read; it must be read again."""


class BusUnavailable(Transient):
    """The message bus does not answer."""


class WorkerUnavailable(Transient):
    """A worker does not answer."""


class TaskStalled(Transient):
    """A task of a worker makes no progress."""


class ConductorSilent(Transient):
    """The conductor has not asked for a task for so long that the task must not continue."""


class DatabaseUnavailable(Transient):
    """The database does not answer."""


class InvalidValue(Permanent):
    """A value from a user, a file or a peer is not valid."""


class NotFound(Permanent):
    """The named backup, object or node does not exist."""


class Conflict(Permanent):
    """The present state does not allow the operation."""


class UnknownTable(Permanent):
    """A requested keyspace or table does not exist in the cluster."""


class EmptySelection(Permanent):
    """The scope selects no table."""


class MissingWorker(Permanent):
    """A ring member has no live worker."""


class DuplicateWorker(Permanent):
    """Two live workers report the same host ID."""


class UnknownTask(Permanent):
    """The worker is of an older release, which does not know the task."""


class WrongNode(Permanent):
    """The Cassandra process that answers is not the expected node."""


class DataDirectoryProblem(Permanent):
    """A data directory is wrong, missing or unreadable."""


class SnapshotLeft(Permanent):
    """A snapshot cannot be removed: Cassandra does not find it, and this worker may not."""


class UnsupportedPartitioner(Permanent):
    """The cluster uses a partitioner whose tokens are no numbers."""


class CommandFailed(Permanent):
    """Cassandra refused a command."""


class RingDiffers(Permanent):
    """Two nodes see different rings, or a node does not know all of its peers."""


class SchemaChanged(Permanent):
    """The schema or the ring changed during the snapshot in every round."""


class CorruptSSTable(Permanent):
    """A Data.db does not match its Digest.crc32."""


class FileVanished(Permanent):
    """A hard link of a snapshot disappeared before it was uploaded."""


class NoSpace(Permanent):
    """A disk or the object store is full."""


class AccessDenied(Permanent):
    """Credentials or permissions are not sufficient."""


class StorageRefused(Permanent):
    """The object store refuses a request; a repetition does not help."""


class CorruptObject(Permanent):
    """The content of a stored object does not match its name or manifest."""


class ObjectTooShort(Permanent):
    """A stored object has fewer bytes than were asked for."""


class FormatProblem(Permanent):
    """A stored document is malformed or of an unknown format version."""


class StillUnavailable(Permanent):
    """A transient failure lasted longer than the outage deadline."""


class SchemaDiffers(Permanent):
    """A table to restore exists with another structure than in the backup."""


class RestoreRefused(Permanent):
    """Preflight found problems that forbid the requested restore."""


class CollectionRefused(Permanent):
    """It is not certain which packs the backups of a node need, so none is removed."""


class StagedFilesLost(Permanent):
    """Files that a restore has staged on a node are missing."""


class ImportUnknown(Permanent):
    """Cassandra does not answer whether it still imports files of an earlier restore."""


class SSTableRefused(Permanent):
    """Cassandra refuses restored SSTables."""


class ScratchFailed(Permanent):
    """A scratch Cassandra cannot be started, or does not work."""


class RestoreDiffers(Permanent):
    """The rows of restored tables differ from the fingerprints of the backup."""


class Cancelled(Permanent):
    """The job was cancelled."""


class Unexpected(Permanent):
    """An error whose name this version does not know."""


class OwnershipLost(Exception):
    """Another conductor owns the job now, so a write of this one was refused.

    It is no BackupError: no handler of a job's own errors may take it for the end of the job.
    """


_BY_CODE: dict[str, type[BackupError]] = {
    cls.__name__: cls for parent in (Transient, Permanent) for cls in parent.__subclasses__()
}


def from_record(record: Mapping[str, object]) -> BackupError:
    """Return the error that ``as_record()`` encoded; unknown codes become ``Unexpected``."""
    cls = _BY_CODE.get(str(record.get("code")), Unexpected)
    return cls(str(record.get("message", "")))
