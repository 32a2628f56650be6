# SPDX-License-Identifier: Apache-2.0
"""Removes the packs of a node that no backup needs: mark and sweep of one container."""
