# SPDX-License-Identifier: Apache-2.0
"""Restores: records, states, plans."""
