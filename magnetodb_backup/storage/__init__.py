# SPDX-License-Identifier: Apache-2.0
"""Storage drivers move bytes to and from an object store."""
