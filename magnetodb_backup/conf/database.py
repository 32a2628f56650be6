# SPDX-License-Identifier: Apache-2.0
"""Options of the database."""

from oslo_config import cfg

GROUP = "database"
OPTS = [
    cfg.StrOpt(
        "connection",
        secret=True,
        sample_default="mysql+pymysql://user:password@host/magnetodb_backup",
        help="SQLAlchemy URL of the database: mysql+pymysql, postgresql+psycopg2 or sqlite. If "
        "unset, an SQLite file in state_dir, which is sufficient for processes on one host.",
    ),
]
