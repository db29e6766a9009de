# SPDX-License-Identifier: Apache-2.0
"""A mock of a debug probe for the real pyOCD, as a plug-in of its own door: it speaks to a `nrf_chip.NrfChip`.

`ASSAY_MOCK_PROBES` is `ID=PORT,ID=PORT`; port 0 is a probe whose firmware is too old. `plugged_in` makes pyOCD find it.
"""

from __future__ import annotations

import os
import socket
import struct
from pathlib import Path

VARIABLE = "ASSAY_MOCK_PROBES"


def plugged_in(folder: Path, **probes: int) -> dict[str, str]:
    """The environment in which pyOCD finds `probes`, by their unique ids, at the ports of their chips."""
    info = folder / "mock_probe-1.0.dist-info"
    info.mkdir(parents=True, exist_ok=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: mock-probe\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[pyocd.probe]\nmock = pyocd_mock_probe:MockPlugin\n")
    paths = [str(folder), str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")]
    listed = ",".join(f"{uid}={port}" for uid, port in probes.items())
    return {"PYTHONPATH": ":".join(filter(None, paths)), VARIABLE: listed}


if VARIABLE in os.environ:
    from pyocd.core import exceptions
    from pyocd.core.plugin import Plugin
    from pyocd.probe.debug_probe import DebugProbe

    class MockProbe(DebugProbe):
        """One probe."""

        def __init__(self, uid: str, port: int) -> None:
            super().__init__()
            self._uid, self._port, self._link = uid, port, None

        @classmethod
        def get_all_connected_probes(cls, unique_id=None, is_explicit=False):
            pairs = [each.partition("=") for each in os.environ[VARIABLE].split(",") if each]
            return [cls(uid, int(port)) for uid, _, port in pairs]

        @classmethod
        def get_probe_with_id(cls, unique_id, is_explicit=False):
            return next((each for each in cls.get_all_connected_probes() if each.unique_id == unique_id), None)

        vendor_name = property(lambda self: "Assay")
        product_name = property(lambda self: "mock of a probe")
        unique_id = property(lambda self: self._uid)
        supported_wire_protocols = property(lambda self: [self.Protocol.DEFAULT, self.Protocol.SWD])
        wire_protocol = property(lambda self: self.Protocol.SWD)
        is_open = property(lambda self: self._link is not None)
        capabilities = property(lambda self: {self.Capability.SWJ_SEQUENCE})

        def open(self):
            if not self._port:
                raise exceptions.ProbeError("the firmware of this probe is too old, please update the firmware")
            link = socket.create_connection(("127.0.0.1", self._port))
            link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._link = link.makefile("rwb")

        def close(self):
            self._link = None

        def connect(self, protocol=None):
            pass

        disconnect = flush = reset = lambda self: None

        def swj_sequence(self, length, bits):
            pass

        def set_clock(self, frequency):
            pass

        def assert_reset(self, asserted):
            pass

        def is_reset_asserted(self):
            return False

        def _ask(self, kind, address, value, data=b"", answers=0):
            request = struct.pack("<cBI", kind, address & 0xFF, value) + data
            try:
                self._link.write(struct.pack("<I", len(request)) + request)
                self._link.flush()
                answer = self._link.read(4 * answers) if answers else b""
            except OSError as error:
                raise exceptions.ProbeDisconnected("the probe is gone") from error
            if len(answer) != 4 * answers:
                raise exceptions.ProbeDisconnected("the probe is gone")
            return list(struct.unpack(f"<{answers}I", answer))

        def read_dp(self, addr, now=True):
            (value,) = self._ask(b"r", addr, 0, answers=1)
            return value if now else lambda: value

        def write_dp(self, addr, data):
            self._ask(b"w", addr, data)

        def read_ap(self, addr, now=True):
            (value,) = self._ask(b"R", addr, 1, answers=1)
            return value if now else lambda: value

        def write_ap(self, addr, data):
            self._ask(b"W", addr, 1, struct.pack("<I", data))

        def read_ap_multiple(self, addr, count=1, now=True):
            values = self._ask(b"R", addr, count, answers=count)
            return values if now else lambda: values

        def write_ap_multiple(self, addr, values):
            self._ask(b"W", addr, len(values), struct.pack(f"<{len(values)}I", *values))

    class MockPlugin(Plugin):
        """What pyOCD's door gives."""

        name = "mock"
        description = "a mock of a probe"

        def load(self):
            return MockProbe
