# SPDX-License-Identifier: Apache-2.0
"""Reads a node, its ring and its rows over CQL."""
