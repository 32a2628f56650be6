# SPDX-License-Identifier: Apache-2.0
"""The manifest of a deleted backup, kept aside until it cannot be undeleted any more."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any

from magnetodb_backup.domain.backup.manifest import FORMAT, BackupManifest
from magnetodb_backup.errors import CorruptObject, FormatProblem
from magnetodb_backup.repository.format.lines import check_format, checked, read_document
from magnetodb_backup.repository.format.manifests import parse_backup_manifest


@dataclass(frozen=True)
class DeletedManifest:
    """A backup manifest that was set aside; ``text`` is what was stored, byte for byte."""

    backup_id: str
    deleted_at: datetime
    undelete_until: datetime
    text: bytes

    @property
    def sha256(self) -> str:
        """The SHA-256 of the backup manifest."""
        return hashlib.sha256(self.text).hexdigest()

    def parsed(self, name: str) -> BackupManifest:
        """Return the backup manifest; ``name`` is that of the object, for errors.

        :raises FormatProblem: if it is malformed, or of an unknown format version.
        """
        return parse_backup_manifest(self.text, name)


def deleted_manifest_bytes(deleted: DeletedManifest) -> bytes:
    """Return the stored form.

    A manifest that is not UTF-8 is kept too: its bytes become lone surrogates, escaped in JSON.
    """
    document = {
        "format": FORMAT,
        "backup_id": deleted.backup_id,
        "deleted_at": deleted.deleted_at.isoformat(),
        "undelete_until": deleted.undelete_until.isoformat(),
        "manifest_sha256": deleted.sha256,
        "manifest": deleted.text.decode(errors="surrogateescape"),
    }
    return json.dumps(document, indent=1).encode() + b"\n"


def parse_deleted_manifest(text: bytes, name: str) -> DeletedManifest:
    """Read the stored form.

    :raises FormatProblem: if it is malformed, or of an unknown format version.
    :raises CorruptObject: if the backup manifest in it does not have its digest.
    """
    document = read_document(text, name)
    check_format(document, name)
    deleted = checked(name, _deleted, document)
    if deleted.sha256 != document.get("manifest_sha256"):
        raise CorruptObject(f"{name}: the backup manifest in it has SHA-256 {deleted.sha256}")
    if name.split("/")[1] != deleted.backup_id:
        raise FormatProblem(
            f"{name}: is the manifest of backup {deleted.backup_id}; another program copied it "
            "there"
        )
    return deleted


def _deleted(document: dict[str, Any]) -> DeletedManifest:
    return DeletedManifest(
        document["backup_id"],
        _time(document["deleted_at"]),
        _time(document["undelete_until"]),
        document["manifest"].encode(errors="surrogateescape"),
    )


def _time(text: str) -> datetime:
    time = datetime.fromisoformat(text)
    if time.tzinfo is None:
        raise ValueError(f"{text!r} has no time zone")
    return time.astimezone(timezone.utc)
