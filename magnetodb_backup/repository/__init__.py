# SPDX-License-Identifier: Apache-2.0
"""The store: its layout, uploads, downloads and verification."""
