# SPDX-License-Identifier: Apache-2.0
"""assay takes a firmware module from source to serial number to field, and proves every step."""

__version__ = "0.1.0"
