# SPDX-License-Identifier: Apache-2.0
"""The settings of clusters, of which the store has copies."""
