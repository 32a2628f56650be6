# SPDX-License-Identifier: Apache-2.0
"""Composition roots, one per process.

The threading back end is chosen here, before anything imports oslo_messaging: otherwise that
library picks eventlet where eventlet happens to be installed.
"""

import warnings

# Libraries import eventlet where it happens to be installed, and eventlet warns of itself.
warnings.filterwarnings("ignore", message=r"\s*Eventlet is deprecated")

from oslo_service import backend  # noqa: E402 - after the filter

backend.init_backend(backend.BackendType.THREADING)
