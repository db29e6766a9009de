# SPDX-License-Identifier: Apache-2.0
"""Places of a labgrid coordinator, by labgrid's own client: a program in an environment of its own."""
