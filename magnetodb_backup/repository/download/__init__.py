# SPDX-License-Identifier: Apache-2.0
"""Downloads a node backup's files, verified."""
