# SPDX-License-Identifier: Apache-2.0
"""Build the example of a plugin."""

from setuptools import setup

setup()
