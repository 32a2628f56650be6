# SPDX-License-Identifier: Apache-2.0
"""Scopes select what a backup contains."""
