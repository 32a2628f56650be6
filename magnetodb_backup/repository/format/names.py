# SPDX-License-Identifier: Apache-2.0
"""Names of containers and objects of repository format 1."""

from __future__ import annotations

import re
from urllib.parse import quote, unquote

from magnetodb_backup.domain.settings.records import LATEST, SettingKey, SettingKind
from magnetodb_backup.errors import InvalidValue

_UUID = re.compile("[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
_SHA256 = re.compile("[0-9a-f]{64}")
_LONGEST_CONTAINER = 256
BACKUPS = "backups/"
DELETED = "deleted/"
PACKS = "packs/"
FIRST_LOOK = "collect/first-look.jsonl.zst"
MOVES = "collect/moves.jsonl.zst"
# In the place of a backup's ID: releases that do not know moves refuse to collect because of it.
MOVES_ID = "00000000-0000-0000-0000-000000000000"
SETTINGS = "settings/"
_RETENTION = f"{SETTINGS}retention/"
_SETTINGS_OF = {
    SettingKind.SCHEDULE: f"{SETTINGS}schedules/",
    SettingKind.MARK: f"{SETTINGS}kept/",
}
_GENERATION = re.compile("([0-9]{20})[.]json")


def check_uuid(text: str, what: str) -> str:
    """Return ``text`` if it is a UUID in lower case with dashes; InvalidValue otherwise."""
    if not _UUID.fullmatch(text):
        raise InvalidValue(f"{text!r} is not the ID of a {what}")
    return text


def check_sha256(text: str) -> str:
    """Return ``text`` if it is a SHA-256 in lower-case hexadecimal; InvalidValue otherwise."""
    if not _SHA256.fullmatch(text):
        raise InvalidValue(f"{text!r} is not a SHA-256")
    return text


def _encode(part: str) -> str:
    # The dot separates the parts, so it must not occur in the cluster's name.
    return quote(part, safe="").replace(".", "%2E")


def cluster_container(prefix: str, cluster: str) -> str:
    """Return the container of a cluster's manifests: ``<prefix>.<cluster>``."""
    if not cluster:
        raise InvalidValue("a cluster needs a name")
    name = containers_prefix(prefix) + _encode(cluster)
    if len(name) > _LONGEST_CONTAINER - 37:
        raise InvalidValue(
            f"the container name {name} is too long for Swift; set a shorter [storage] prefix"
        )
    return name


def containers_prefix(prefix: str) -> str:
    """Return the common beginning of the names of all containers."""
    return f"{quote(prefix, safe='')}."


def parse_cluster_container(prefix: str, name: str) -> str | None:
    """Return the cluster whose manifests the container ``name`` holds.

    None for the containers of nodes, of other prefixes, and of other programs.
    """
    start = containers_prefix(prefix)
    if not name.startswith(start):
        return None
    try:
        cluster = unquote(name[len(start) :], errors="strict")
        return cluster if cluster_container(prefix, cluster) == name else None
    except (InvalidValue, UnicodeError):
        return None


def node_container(prefix: str, cluster: str, host_id: str) -> str:
    """Return the container of one node's packs: ``<prefix>.<cluster>.<host ID>``."""
    return f"{cluster_container(prefix, cluster)}.{check_uuid(host_id, 'node')}"


def node_containers_prefix(prefix: str, cluster: str) -> str:
    """Return the common beginning of the names of a cluster's pack containers."""
    return f"{cluster_container(prefix, cluster)}."


def parse_node_container(prefix: str, cluster: str, name: str) -> str | None:
    """Return the host ID of the node whose packs the container ``name`` holds.

    None for the containers of other clusters and of other programs: names are compared whole.
    """
    host_id = name.removeprefix(node_containers_prefix(prefix, cluster))
    if not _UUID.fullmatch(host_id) or node_container(prefix, cluster, host_id) != name:
        return None
    return host_id


def is_backup_id(text: str) -> bool:
    """Return whether ``text`` has the form of a backup's ID."""
    return _UUID.fullmatch(text) is not None and text != MOVES_ID


def backup_prefix(backup_id: str) -> str:
    """Return the common beginning of all object names of a backup."""
    return f"{BACKUPS}{check_uuid(backup_id, 'backup')}/"


def manifest_name(backup_id: str) -> str:
    """Return the name of the backup manifest."""
    return f"{backup_prefix(backup_id)}manifest.json"


def deleted_manifest_name(backup_id: str) -> str:
    """Return the name under which the manifest of a deleted backup is kept for an undeletion."""
    return f"{DELETED}{check_uuid(backup_id, 'backup')}/manifest.json"


def schema_name(backup_id: str) -> str:
    """Return the name of the schema."""
    return f"{backup_prefix(backup_id)}schema.cql"


def schema_rows_name(backup_id: str) -> str:
    """Return the name of the schema as rows."""
    return f"{backup_prefix(backup_id)}schema.jsonl"


def node_manifest_name(backup_id: str, host_id: str) -> str:
    """Return the name of a node manifest."""
    return f"{backup_prefix(backup_id)}nodes/{check_uuid(host_id, 'node')}.jsonl.zst"


def moves_name(host_id: str) -> str:
    """Return the name of a node's moves in the container of the cluster."""
    return node_manifest_name(MOVES_ID, host_id)


def fingerprints_name(backup_id: str, host_id: str) -> str:
    """Return the name of the fingerprints that the worker of a node took."""
    return f"{backup_prefix(backup_id)}figures/{check_uuid(host_id, 'node')}.jsonl.zst"


def check_fingerprints_name(backup_id: str, name: str) -> str:
    """Return ``name`` if it names fingerprints of this backup; raise InvalidValue otherwise."""
    host_id = name.rpartition("/")[2].removesuffix(".jsonl.zst")
    if not _UUID.fullmatch(host_id) or name != fingerprints_name(backup_id, host_id):
        raise InvalidValue(f"{name!r} is not the name of fingerprints of backup {backup_id}")
    return name


def pack_name(sha256: str) -> str:
    """Return the name of the pack with this SHA-256 of its stored bytes."""
    return f"{PACKS}{check_sha256(sha256)[:2]}/{sha256}"


def parse_pack_name(name: str) -> str | None:
    """Return the SHA-256 of the pack with this object name; None for other objects."""
    sha256 = name.rpartition("/")[2]
    return sha256 if _SHA256.fullmatch(sha256) and pack_name(sha256) == name else None


def setting_prefix(key: SettingKey) -> str:
    """Return the common beginning of the names of a setting's copies."""
    if key.kind is SettingKind.POLICY:
        return _RETENTION
    return f"{_SETTINGS_OF[key.kind]}{check_uuid(key.subject, key.kind.value)}/"


def setting_name(key: SettingKey, generation: int) -> str:
    """Return the name of a setting's copy of one generation; names sort as generations do."""
    return f"{setting_prefix(key)}{generation:020}.json"


def parse_setting_name(cluster: str, name: str) -> tuple[SettingKey, int] | None:
    """Return which copy the object ``name`` of a cluster is; None for other objects."""
    prefix, slash, last = name.rpartition("/")
    matched = _GENERATION.fullmatch(last)
    generation = int(matched[1]) if matched else LATEST + 1
    if generation > LATEST:
        return None
    if prefix + slash == _RETENTION:
        return SettingKey(SettingKind.POLICY, cluster, cluster), generation
    for kind, beginning in _SETTINGS_OF.items():
        subject = prefix.removeprefix(beginning)
        if _UUID.fullmatch(subject) and prefix == f"{beginning}{subject}":
            return SettingKey(kind, subject, cluster), generation
    return None
