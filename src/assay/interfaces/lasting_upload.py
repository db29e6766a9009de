# SPDX-License-Identifier: Apache-2.0
"""An upload that outlives a restart of the device in the middle of it.

Guards: a device that lost its power forgets the upload and refuses the next frame; that is no verdict about the unit,
and the upload begins anew. A device that goes on forgetting is an infrastructure fault.
Leaves to others: lost frames and resuming (`drivers.mcumgr.upload`), whether the right image arrived (the stages).
"""

from __future__ import annotations

import hashlib

from assay.errors import LinkError
from assay.interfaces.device import Device, DeviceRefusal, Progress, UploadReport

RESTARTS_MAX = 2
"""Uploads that are begun anew before it is given up: a power supply that fails thrice will fail again."""
FORGOTTEN = "bad-request"
"""What a device says to a frame of an upload that it does not know (device contract, error 2)."""


def upload(device: Device, data: bytes, progress: Progress, image: int = 0) -> UploadReport:
    """Send the file `data` of MCUmgr's image number `image`. Raises DeviceRefusal (a verdict), LinkError."""
    reached = 0

    def watch(done: int, total: int) -> None:
        nonlocal reached
        reached = done
        progress(done, total)

    for restarts in range(RESTARTS_MAX + 1):
        reached = 0
        try:
            return device.upload(data, hashlib.sha256(data).digest(), watch, image)
        except DeviceRefusal as refusal:
            if refusal.word != FORGOTTEN or not 0 < reached < len(data):
                raise
            if restarts == RESTARTS_MAX:
                raise LinkError(
                    f"the device on {device.address} forgot the upload {restarts + 1} times: it restarts by itself",
                    remedy="see to its power, then do it again",
                ) from refusal
    raise AssertionError("the loop ends by return or raise")
