# SPDX-License-Identifier: Apache-2.0
"""The tasks of a backup on one node."""
