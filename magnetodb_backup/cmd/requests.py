# SPDX-License-Identifier: Apache-2.0
"""Composes what takes the requests of the API and of the command line."""

from __future__ import annotations

from typing import Any

from oslo_config import cfg

from magnetodb_backup.database import Database
from magnetodb_backup.messaging.conductor import ConductorClient
from magnetodb_backup.plugins.loading import load_scope
from magnetodb_backup.requests.service import RecordedRequests

_KNOWN_WITHIN = 86400.0  # seconds since a worker's last report


def make_requests(conf: cfg.ConfigOpts, database: Database, transport: Any) -> RecordedRequests:
    """Return what checks and records requests; the conductor looks for them at once."""
    return RecordedRequests(
        database,
        load_scope,
        ConductorClient(transport).look_for_jobs,
        known_within=_KNOWN_WITHIN,
        prefix=conf.storage.prefix,
    )
