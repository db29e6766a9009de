# SPDX-License-Identifier: Apache-2.0
"""The device CA of a site: its self-signed certificate, made once and kept, and device certificates signed by its key.

Guards: the private key stays with the signer; each CA key has one certificate, in a file named after the key, and a
file that is damaged is made anew. Leaves to others: what is in a certificate (`formats.device_certificate`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from assay.errors import StorageError
from assay.formats import device_certificate
from assay.formats.delegated_key import Sign
from assay.formats.device_certificate import DeviceIdentity
from assay.model.trust import Role

if TYPE_CHECKING:
    from assay.pipeline.site import Site

CA_FOLDER = "device-ca"


def ca_certificate(site: Site) -> bytes:
    """The CA's certificate (DER); PEM for other people's tools lies beside it. Raises `StorageError`."""
    from assay.backends.durable_file import exclusive, make_folder, write_durably
    from assay.backends.named_file import read_kept

    key = site.signers.public_key(Role.DEVICE_CA)
    path = site.folder / CA_FOLDER / f"{key.keyid[:16]}.der"
    try:
        make_folder(path.parent)
        with exclusive(path.parent / "lock"):
            der = read_kept(path) if path.exists() else b""
            if not device_certificate.is_ca_certificate_of(der, key):
                der = device_certificate.issue_ca(key, site.clock.now(), _signer(site))
                write_durably(path.with_suffix(".pem"), device_certificate.pem(der))
                write_durably(path, der)
    except OSError as error:
        raise StorageError(
            f"the device CA's certificate {path} cannot be kept: {error.strerror}",
            remedy="make the site's folder writable and see that the disk has room",
        ) from error
    return der


def issue(site: Site, identity: DeviceIdentity) -> bytes:
    """The device certificate (DER) of `identity`, signed by the site's device CA."""
    return device_certificate.issue(identity, ca_certificate(site), _signer(site))


def _signer(site: Site) -> Sign:
    return lambda data: site.signers.sign(Role.DEVICE_CA, data)
