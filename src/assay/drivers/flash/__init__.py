# SPDX-License-Identifier: Apache-2.0
"""Flashers (`interfaces.flasher`): the field's own tools behind one interface, and UF2 volumes."""
