# SPDX-License-Identifier: Apache-2.0
"""Retention: which backups are kept, which expire, and what a deletion would break."""
