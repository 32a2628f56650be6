# SPDX-License-Identifier: Apache-2.0
"""Everything that can go wrong, as Transient (worth another try) or Permanent (ends the job)."""

from __future__ import annotations

from collections.abc import Mapping


class BackupError(Exception):
    """Base of the project's errors; its text names the culprit and the remedy."""

    def __str__(self) -> str:
        # Names of files may have bytes that are no characters; no log and no bus would take them.
        return super().__str__().encode(errors="backslashreplace").decode()

    @property
    def code(self) -> str:
        """The error's name as it appears in records and on the bus."""
        return type(self).__name__

    def as_record(self) -> dict[str, str]:
        """Return the form that travels on the bus and lies in the database."""
        return {"code": self.code, "message": str(self)}


class Transient(BackupError):
    """May go away by itself: retried with back-off inside a deadline."""


class Permanent(BackupError):
    """Will not go away by itself: ends the job at once."""


class CassandraUnavailable(Transient):
    """The local Cassandra node does not answer."""


class StreamFailed(Transient):
    """Nodes did not take to the end what was streamed to them."""


class StorageUnavailable(Transient):
    """The object store does not answer, or answers that it is overloaded."""


class IncompleteBody(Transient):
    """A body was shorter, longer or other than announced; a repetition may give it whole."""


class FileChanged(Transient):
    """A file was written while it was read; it has to be read again."""


class BusUnavailable(Transient):
    """The message bus does not answer."""


class WorkerUnavailable(Transient):
    """A worker does not answer."""


class DatabaseUnavailable(Transient):
    """The database does not answer."""


class InvalidValue(Permanent):
    """A value from outside is not acceptable."""


class NotFound(Permanent):
    """The thing that was named does not exist."""


class Conflict(Permanent):
    """The thing's present state does not allow the operation."""


class UnknownTable(Permanent):
    """A keyspace or table that was asked for does not exist in the cluster."""


class EmptySelection(Permanent):
    """The scope selects no table."""


class MissingWorker(Permanent):
    """A ring member has no live worker."""


class DuplicateWorker(Permanent):
    """Two live workers report the same host ID."""


class WrongNode(Permanent):
    """The Cassandra that answers is not the node that it should be."""


class DataDirectoryProblem(Permanent):
    """A data directory is wrong, missing or unreadable."""


class CommandFailed(Permanent):
    """Cassandra refused a command."""


class SchemaChanged(Permanent):
    """The schema or the ring changed while the snapshot was taken, each time."""


class CorruptSSTable(Permanent):
    """A Data.db does not match its Digest.crc32."""


class FileVanished(Permanent):
    """A hard link of a snapshot disappeared before it was uploaded."""


class NoSpace(Permanent):
    """A disk or the object store has no room."""


class AccessDenied(Permanent):
    """Credentials or permissions do not suffice."""


class StorageRefused(Permanent):
    """The object store refuses a request for good."""


class CorruptObject(Permanent):
    """A stored object's content is not what its name or manifest says."""


class FormatProblem(Permanent):
    """A stored document is malformed or of an unknown format version."""


class StillUnavailable(Permanent):
    """A trouble that might have passed has lasted longer than the outage deadline."""


class SchemaDiffers(Permanent):
    """A table that is to be restored exists with another structure than in the backup."""


class RestoreRefused(Permanent):
    """Preflight found that a restore cannot be done as it was asked for."""


class SSTableRefused(Permanent):
    """Cassandra refuses restored SSTables."""


class RestoreDiffers(Permanent):
    """The rows of restored tables are not what the backup's figures say."""


class Cancelled(Permanent):
    """The job was cancelled."""


class Unexpected(Permanent):
    """An error that this version does not know by name."""


class OwnershipLost(Exception):
    """Another conductor owns the job now, so a write of this one was refused.

    It is no BackupError: no handler of a job's own errors may take it for the end of the job.
    """


_BY_CODE: dict[str, type[BackupError]] = {
    cls.__name__: cls for parent in (Transient, Permanent) for cls in parent.__subclasses__()
}


def from_record(record: Mapping[str, object]) -> BackupError:
    """Turn ``as_record()``'s form into an error again; unknown codes become ``Unexpected``."""
    cls = _BY_CODE.get(str(record.get("code")), Unexpected)
    return cls(str(record.get("message", "")))
