# SPDX-License-Identifier: Apache-2.0
"""Time stamps (RFC 3161) over a signature, verified with the authorities of a trusted root.

Guards: a time counts only if an authority that is trusted for that time signed it, over exactly this signature. A stamp
of a stranger proves nothing and breaks nothing. Leaves to others: CMS (`rfc3161_client`), and what the time is for.
"""

from __future__ import annotations

from collections.abc import Iterable

from assay.errors import NotVerified, ToolMissing
from assay.formats.trusted_root import RootStamper, TrustedRoot
from assay.model.signer_limits import ProvedTime

INSTALL = "install assay with its extra sigstore: pip install 'assay[sigstore]' from the project's folder"

CHAIN_MIN = 2
"""A leaf and a root, at the least."""


def proved_times(stamps: Iterable[bytes], signature: bytes, root: TrustedRoot) -> tuple[ProvedTime, ...]:
    """The times that `stamps` prove for `signature`. Raises `NotVerified` for what is no time stamp."""
    found = (_proved(stamp, signature, stamper) for stamp in stamps for stamper in root.stampers)
    return tuple(time for time in found if time is not None)


def earliest(times: Iterable[ProvedTime]) -> ProvedTime | None:
    """The time that counts: a signature that was there by two times was there by the first, whatever their order."""
    return min(times, key=lambda each: each.when, default=None)


def _proved(stamp: bytes, signature: bytes, stamper: RootStamper) -> ProvedTime | None:
    from cryptography.x509 import load_der_x509_certificate

    try:
        from rfc3161_client import VerificationError, VerifierBuilder, decode_timestamp_response
    except ImportError as error:
        raise ToolMissing("time stamps need the package rfc3161-client, which is not there", remedy=INSTALL) from error
    if len(stamper.chain) < CHAIN_MIN:
        return None
    try:
        leaf, *between, top = (load_der_x509_certificate(each) for each in stamper.chain)
        response = decode_timestamp_response(stamp)
        # Lists of our own: the builder's are shared between builders.
        builder = VerifierBuilder(tsa_certificate=leaf, intermediates=list(between), roots=[top])
        builder.build().verify_message(response, signature)
        when = response.tst_info.gen_time
    except VerificationError:
        return None
    except Exception as error:  # parts of a stamp are parsed when they are asked for
        raise NotVerified("a time stamp of the bundle is malformed", remedy="have it stamped again") from error
    return ProvedTime(when, stamper.name) if stamper.window.holds(when) else None
