# SPDX-License-Identifier: Apache-2.0
"""A private Sigstore in a box, on loopback, for labs and tests: `lab.SigstoreLab`.

It is no production CA: its keys are made at each start and live in memory, whoever reaches the port gets a token for
any identity, and its certificates say so in their names.
"""
