# SPDX-License-Identifier: Apache-2.0
"""Runs one Swift server with a swift.conf of our own; started by the lab in Swift's environment.

Servers honour ``swift_dir`` only in part: constraints and policies are read at import.
"""

import importlib
import sys

import swift.common.utils as swift_utils

swift_utils.SWIFT_CONF_FILE = sys.argv.pop(1)
sys.exit(importlib.import_module(sys.argv.pop(1)).main())
