# SPDX-License-Identifier: Apache-2.0
"""The stored form of a setting's copy: a line with format and digest, and a line with the copy."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import Any

import msgspec

from magnetodb_backup.domain.backup.manifest import FORMAT
from magnetodb_backup.domain.settings.records import CLASSES, SettingCopy, SettingKey, SettingKind
from magnetodb_backup.errors import CorruptObject
from magnetodb_backup.repository.format.lines import check_format, read_document
from magnetodb_backup.repository.format.names import parse_setting_name


@dataclass(frozen=True)
class _Document:
    kind: SettingKind
    subject: str
    cluster: str
    generation: int
    setting: dict[str, Any] | None


def setting_bytes(copy: SettingCopy) -> bytes:
    """Return the stored form; it is the same for the same copy."""
    key = copy.key
    setting = None if copy.setting is None else msgspec.to_builtins(copy.setting)
    document = _Document(key.kind, key.subject, key.cluster, copy.generation, setting)
    line = msgspec.json.encode(document) + b"\n"
    header = {"format": FORMAT, "sha256": hashlib.sha256(line).hexdigest()}
    return json.dumps(header).encode() + b"\n" + line


def parse_setting(text: bytes, name: str, cluster: str) -> SettingCopy:
    """Read the stored form of the object ``name`` in the container of a cluster.

    :raises FormatProblem: if it is of an unknown format version, or no document.
    :raises CorruptObject: if it does not have its digest, is malformed, or belongs elsewhere.
    """
    first, _, line = text.partition(b"\n")
    header = read_document(first, name)
    check_format(header, name)
    found = hashlib.sha256(line).hexdigest()
    if found != header.get("sha256"):
        raise CorruptObject(f"{name}: the copy in it has SHA-256 {found}, not that of its header")
    try:
        document = msgspec.json.decode(line, type=_Document)
        setting = document.setting
        copy = SettingCopy(
            SettingKey(document.kind, document.subject, document.cluster),
            document.generation,
            None if setting is None else msgspec.convert(setting, CLASSES[document.kind]),
        )
    except msgspec.MsgspecError as error:
        raise CorruptObject(f"{name}: malformed copy: {error}") from None
    if parse_setting_name(cluster, name) != (copy.key, copy.generation):
        raise CorruptObject(
            f"{name}: is the copy of {document.kind.value} {document.subject} of cluster "
            f"{document.cluster!r}; another program copied it there"
        )
    return copy
