# SPDX-License-Identifier: Apache-2.0
"""Composition roots, one per process.

The threading back end is chosen here, before anything imports oslo_messaging: otherwise that
library picks eventlet where eventlet happens to be installed.
"""

from oslo_service import backend

backend.init_backend(backend.BackendType.THREADING)
