# SPDX-License-Identifier: Apache-2.0
"""The configuration of a scratch Cassandra, made from the configuration of the node.

Only settings that decide what a schema or an SSTable may be are taken over. A list of what is left
out would miss new settings, and the scratch Cassandra could use the node's directories or ports.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from magnetodb_backup.errors import ScratchFailed

_TAKEN_OVER = re.compile(
    r"partitioner|sstable|memtable|default_compaction|storage_compatibility_mode|"
    r"column_index_size(_in_kb)?|default_secondary_index|enable_\w+|\w+_enabled"
)
# Of those: what works in the background, or with other nodes, or writes somewhere else.
_LEFT_OUT = re.compile(r"cdc_enabled|hinted_handoff_enabled|auto_hints_cleanup_enabled")
# What a table needs so that its SSTables can be read, by its old name, which all releases know.
_ALWAYS = {
    "enable_materialized_views": "materialized_views_enabled",
    "enable_user_defined_functions": "user_defined_functions_enabled",
    "enable_transient_replication": "transient_replication_enabled",
}
VERIFYING = "verifier.yaml"  # the configuration of the verifier
_PLACE_IN_RING = "0"  # valid with each partitioner whose tokens are numbers
_ALLOW_ALL = {
    "authenticator": "AllowAllAuthenticator",
    "authorizer": "AllowAllAuthorizer",
    "internode_authenticator": "org.apache.cassandra.auth.AllowAllInternodeAuthenticator",
}
_LOGBACK = """<configuration><appender name="A" class="ch.qos.logback.core.ConsoleAppender">
<target>{target}</target>
<encoder><pattern>%-5level %date{{HH:mm:ss}} %msg%n</pattern></encoder></appender>
<root level="{level}"><appender-ref ref="A"/></root></configuration>
"""


@dataclass(frozen=True)
class Endpoint:
    """Where a scratch Cassandra listens."""

    address: str
    storage_port: int
    native_port: int


def read_settings(path: str) -> Mapping[str, Any]:
    """Return the settings of a ``cassandra.yaml``.

    :raises ScratchFailed: if it cannot be read.
    """
    try:
        settings = msgspec.yaml.decode(Path(path).read_bytes())
    except OSError as error:
        raise ScratchFailed(
            f"{path} cannot be read ({error.strerror}); set [scratch] configuration to the node's "
            "cassandra.yaml"
        ) from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ScratchFailed(f"{path} is no YAML: {error}") from None
    if not isinstance(settings, dict):
        raise ScratchFailed(f"{path} is no cassandra.yaml: it has no settings")
    return settings


def scratch_settings(
    node: Mapping[str, Any], home: Path, endpoint: Endpoint, *, lenient: bool
) -> dict[str, Any]:
    """Return the settings of a scratch Cassandra below ``home``.

    ``node`` has those of the node. With ``lenient`` every kind of table can be created, also one
    that the node does not allow.
    """
    settings = {
        name: value
        for name, value in node.items()
        if _TAKEN_OVER.fullmatch(name) and not _LEFT_OUT.fullmatch(name)
    }
    if lenient:
        for old, new in _ALWAYS.items():
            settings[new if new in settings else old] = True
    seeds = f"{endpoint.address}:{endpoint.storage_port}"
    return {
        **settings,
        "cluster_name": f"scratch {home.name}",
        "num_tokens": 1,
        "initial_token": _PLACE_IN_RING,
        "data_file_directories": [str(home / "data")],
        **{
            f"{name}_directory": str(home / name)
            for name in ("commitlog", "saved_caches", "hints", "cdc_raw")
        },
        "commitlog_sync": "periodic",
        "commitlog_sync_period_in_ms": 10000,
        "commitlog_segment_size_in_mb": 8,
        "listen_address": endpoint.address,
        "rpc_address": endpoint.address,
        "storage_port": endpoint.storage_port,
        "native_transport_port": endpoint.native_port,
        "start_native_transport": True,
        "endpoint_snitch": "SimpleSnitch",
        "seed_provider": [
            {
                "class_name": "org.apache.cassandra.locator.SimpleSeedProvider",
                "parameters": [{"seeds": seeds}],
            }
        ],
        **_ALLOW_ALL,
        "auto_snapshot": False,
        "incremental_backups": False,
        "hinted_handoff_enabled": False,
        "disk_failure_policy": "stop",
    }


def write_configuration(home: Path, settings: Mapping[str, Any]) -> None:
    """Write the files that Cassandra reads from its class path and by its properties.

    The verifier finds fetched SSTables in a data directory of their own: a running Cassandra would
    write beside them.
    """
    conf = home / "conf"
    conf.mkdir(mode=0o700, exist_ok=True)
    both = [str(home / "data"), str(home / "fetched")]
    for name, values in (
        ("cassandra.yaml", settings),
        (VERIFYING, {**settings, "data_file_directories": both}),
    ):
        (conf / name).write_text(json.dumps(values, indent=1))  # JSON is YAML
    (conf / "logback.xml").write_text(_LOGBACK.format(target="System.out", level="INFO"))
    (conf / "logback-tools.xml").write_text(_LOGBACK.format(target="System.err", level="WARN"))
    # It hides the node's own file, whose command would archive commit logs of the scratch node.
    (conf / "commitlog_archiving.properties").write_text("archive_command=\n")
