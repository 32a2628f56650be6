# SPDX-License-Identifier: Apache-2.0
"""The configuration options, one module for each group."""
