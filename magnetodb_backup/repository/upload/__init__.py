# SPDX-License-Identifier: Apache-2.0
"""Uploads a node's snapshot as packs."""
