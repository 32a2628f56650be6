# SPDX-License-Identifier: Apache-2.0
"""The option of earlier versions' leases: known so that its use is reported, not in the sample."""

from oslo_config import cfg

GROUP = "coordination"
OPTS = [cfg.StrOpt("backend_url", secret=True, help="Ignored; ownership is in the database.")]
