# SPDX-License-Identifier: Apache-2.0
"""Loads scopes, storage drivers and node controls by their entry points."""
