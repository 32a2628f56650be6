# SPDX-License-Identifier: Apache-2.0
"""The on-store format: names, manifests, fingerprints."""
