# SPDX-License-Identifier: Apache-2.0
"""What a request must satisfy, and how it is recorded."""
