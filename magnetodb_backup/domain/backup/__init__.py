# SPDX-License-Identifier: Apache-2.0
"""Backups: records, states, manifests."""
