# SPDX-License-Identifier: Apache-2.0
"""What the conductor and the workers exchange."""
