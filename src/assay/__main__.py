# SPDX-License-Identifier: Apache-2.0
"""`python -m assay`."""

from assay.cli.main import run

if __name__ == "__main__":
    run()
