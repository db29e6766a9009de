# SPDX-License-Identifier: Apache-2.0
"""One of several processes that sign with one key: `DRIVER FOLDER ROLE COUNT` (`conformance.signers`)."""

from __future__ import annotations

import sys

from assay.conformance.driver_choice import DriverChoice
from assay.conformance.signers import subject_of

SIGNATURES_BETWEEN = 2
"""How often the key is opened anew."""


def main() -> None:
    """Sign `COUNT` times, and say how many of the signatures verify."""
    driver, folder, role, count = sys.argv[1:]
    subject = subject_of(DriverChoice(driver, folder, {"role": role}, None))
    signer, good = subject.open(), 0
    for number in range(int(count)):
        data = f"{number}".encode()
        good += subject.is_good(signer.sign(data), data)
        if number % SIGNATURES_BETWEEN:
            signer.close()
    sys.stdout.write(f"{good} good\n")


if __name__ == "__main__":
    main()
