# SPDX-License-Identifier: Apache-2.0
"""The tasks of a restore on one node."""
