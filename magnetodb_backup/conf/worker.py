# SPDX-License-Identifier: Apache-2.0
"""Options of the worker."""

from oslo_config import cfg

GROUP = "worker"
OPTS = [
    cfg.IntOpt(
        "pack_size",
        default=32 * 1024 * 1024,
        min=1024 * 1024,
        max=1024 * 1024 * 1024,
        help="Size of a pack in bytes. A pack is held in memory until it is stored; the worker "
        "holds up to upload_concurrency + reader_threads of them.",
    ),
    cfg.IntOpt(
        "upload_concurrency", default=4, min=1, max=64, help="Packs that are uploaded at once."
    ),
    cfg.IntOpt(
        "download_concurrency",
        default=4,
        min=1,
        max=64,
        help="Ranges of packs that a restore downloads at once.",
    ),
    cfg.IntOpt(
        "figures_concurrency",
        default=2,
        min=1,
        max=64,
        help="Token ranges that are read from Cassandra at once for the figures of a backup, and "
        "for the check of a restore.",
    ),
    cfg.IntOpt(
        "reader_threads",
        default=2,
        min=1,
        max=64,
        help="Threads that read and hash SSTables.",
    ),
    cfg.FloatOpt(
        "heartbeat_interval",
        default=5.0,
        min=0.2,
        max=300,
        help="Seconds between two reports to the conductor.",
    ),
    cfg.IntOpt(
        "snapshot_ttl",
        default=172800,
        min=60,
        help="Seconds after which Cassandra (4.1 and later) removes a snapshot by itself, should "
        "everything else fail. An upload must be finished by then.",
    ),
    cfg.FloatOpt(
        "head_room_percent",
        default=5.0,
        min=0,
        max=100,
        help="Part of each data directory's file system that must stay free. Below it no "
        "snapshot is taken, and a running node backup is stopped and its snapshot removed.",
    ),
]
