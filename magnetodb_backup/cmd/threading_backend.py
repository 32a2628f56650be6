# SPDX-License-Identifier: Apache-2.0
"""Chooses native threads for the oslo libraries; importing this module is the choice.

A process that uses oslo.messaging imports this module before all others: oslo.messaging selects
eventlet, where it is installed, unless the backend is chosen first. The command line imports it
only in the commands that send a message: oslo.service takes 0.3 s to import.
"""

import warnings

# futurist and cassandra-driver import eventlet where it is installed (oslo.service requires it),
# and eventlet warns about itself.
warnings.filterwarnings("ignore", message=r"\s*Eventlet is deprecated")

from oslo_service import backend  # noqa: E402 - after the filter

backend.init_backend(backend.BackendType.THREADING)
