# SPDX-License-Identifier: Apache-2.0
"""A sample of `nox -s frames`: frames that nobody should send, into the client and into the firmware."""

from __future__ import annotations

from typing import Any

import pytest
from random_frames import into_client, into_device, without_resets

from assay.drivers.mcumgr.session import Session
from assay.protocols.smp.framing import Framing


@pytest.mark.parametrize("seed", [1, 2])
def test_the_client_stays_well(seed: int) -> None:
    fates = into_client(3000, seed)
    assert fates["dropped"] > 500 and fates["no answer"] > 500


def test_a_client_that_keeps_every_second_frame_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    kept, receive = [], Session.receive

    def keep(session: Session, *rest: Any) -> Any:
        frame = receive(session, *rest)
        kept.extend([bytearray(9)] if session.framing is Framing.RAW else [])
        return frame

    monkeypatch.setattr(Session, "receive", keep)
    with pytest.raises(AssertionError, match="objects more"):
        into_client(3000, 1)
    assert kept


@pytest.mark.parametrize("board", ["ast1030-evb", "rv32-virt"])
def test_the_device_stays_well(board: str) -> None:
    fates = into_device(board, 1000, 3)
    assert fates["frames"] == 1000 and fates["bad frames"] > 100 and fates["console answers"] > 30


def test_a_request_to_reset_is_not_sent_wherever_it_begins() -> None:
    """Seed 20261131 had, among 609,200 frames, one behind a byte that was there twice: the device obeyed."""
    request = bytes.fromhex("0a00000000007f05")
    whole, behind, other = request, b"\n" + request + b"\xa0", request[:-1] + b"\x06"
    assert without_resets([whole, other, behind, other]) == [b"", other, b"", other]
    assert without_resets([b"a", request[:3], request[3:], request]) == [b"a", request[:3], b"", b""]
