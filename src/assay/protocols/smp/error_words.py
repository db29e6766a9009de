# SPDX-License-Identifier: Apache-2.0
"""Words for the numbers with which a device says no.

Guards: the numbers of group 0x4153 are those of the firmware (`firmware/core/include/assay_errors.def`; a test
compares both), for ever, extend-only.
"""

from __future__ import annotations

from enum import IntEnum

from smp.error import MGMT_ERR
from smp.header import GroupId
from smp.image_management import IMG_MGMT_ERR
from smp.os_management import OS_MGMT_RET_RC

ASSAY_GROUP = 0x4153  # "AS"; not 64, so that asking a stranger's board does not run a stranger's command


class AssayRc(IntEnum):
    """Error numbers of group 0x4153."""

    OK = 0
    UNKNOWN = 1
    BAD_REQUEST = 2
    NO_ENTROPY = 3
    NO_KEY = 4
    ALREADY_PROVISIONED = 5
    FLASH = 6
    NO_IMAGE = 7
    TOO_LARGE = 8
    NOT_HERE = 9
    BOARD_MISMATCH = 10
    BAD_SIGNATURE = 11
    BAD_HASH = 12
    DOWNGRADE = 13
    BAD_HEADER = 14
    REVISION = 15
    BUSY = 16
    WRONG_BASE = 17
    NOT_BOOTABLE = 18
    BAD_PATCH = 19
    WRONG_LENGTH = 20
    UNKNOWN_TLV = 21
    LYING_TRAILER = 22
    DEPENDENCY = 23
    GROUP_INCOMPLETE = 24


_NUMBERS: dict[int | None, type[IntEnum]] = {
    None: MGMT_ERR,
    GroupId.OS_MANAGEMENT: OS_MGMT_RET_RC,
    GroupId.IMAGE_MANAGEMENT: IMG_MGMT_ERR,
    ASSAY_GROUP: AssayRc,
}

_SMP_WORDS: dict[int, str] = {
    MGMT_ERR.EUNKNOWN: "unknown",
    MGMT_ERR.ENOMEM: "no-memory",
    MGMT_ERR.EINVAL: "bad-request",
    MGMT_ERR.ETIMEOUT: "timeout",
    MGMT_ERR.ENOENT: "no-entry",
    MGMT_ERR.EBADSTATE: "bad-state",
    MGMT_ERR.EMSGSIZE: "too-large",
    MGMT_ERR.ENOTSUP: "not-supported",
    MGMT_ERR.ECORRUPT: "corrupt",
    MGMT_ERR.EBUSY: "busy",
    MGMT_ERR.EACCESSDENIED: "access-denied",
    MGMT_ERR.UNSUPPORTED_TOO_OLD: "too-old",
    MGMT_ERR.UNSUPPORTED_TOO_NEW: "too-new",
}
"""Numbers of SMP itself: version 1 answers, and version 2 ones about the request as such."""


def error_word(group: int | None, rc: int) -> str:
    """The word for number `rc` of `group` (None: SMP itself), `rc-<n>` for one that we do not know."""
    if group is None and rc in _SMP_WORDS:
        return _SMP_WORDS[rc]
    numbers = _NUMBERS.get(group)
    try:
        return numbers(rc).name.lower().replace("_", "-") if numbers else f"rc-{rc}"
    except ValueError:
        return f"rc-{rc}"
