# SPDX-License-Identifier: Apache-2.0
"""The RAUC bundle of a signed image, and the certificate that units of this site know its key by.

Guards: the bundle key stays with the signer; each key has one certificate. Leaves to others: what a bundle is
(`formats.rauc_bundle`), and what a unit makes of it.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from assay.errors import StorageError
from assay.formats import rauc_bundle
from assay.formats.delegated_key import Sign
from assay.formats.rauc_bundle import BundleFacts
from assay.model.artifact import RaucBundle, Release
from assay.model.trust import Role

if TYPE_CHECKING:
    from assay.pipeline.site import Site

FOLDER = "rauc"


def bundle_of(release: Release, image: bytes, site: Site) -> tuple[RaucBundle, bytes]:
    """The signed bundle of the release's image, and its bytes. Raises `ToolMissing`, tool errors."""
    from assay.backends.builders.squashfs_program import squashfs_of

    facts = facts_of(release)
    squashfs = squashfs_of(rauc_bundle.IMAGE_FILE, image)
    key = site.signers.public_key(Role.RAUC)
    data = rauc_bundle.assemble(squashfs, facts, certificate(site), key, _signer(site))
    rauc_bundle.check_holds(data, facts)
    return RaucBundle(file_sha256=hashlib.sha256(data).hexdigest(), size=len(data), keyid=key.keyid), data


def facts_of(release: Release) -> BundleFacts:
    """What the release's bundle has to say."""
    return BundleFacts(release.board, release.version, release.image.file_sha256, release.image.size)


def certificate(site: Site) -> bytes:
    """The certificate (DER) of the site's bundle key, made once and kept. Raises `StorageError`."""
    from assay.backends.durable_file import exclusive, make_folder, write_durably

    key = site.signers.public_key(Role.RAUC)
    path = site.folder / FOLDER / f"{key.keyid[:16]}.der"
    try:
        make_folder(path.parent)
        with exclusive(path.parent / "lock"):
            if not path.exists():
                write_durably(path, rauc_bundle.issue_certificate(key, site.clock.now(), _signer(site)))
            return path.read_bytes()
    except OSError as error:
        raise StorageError(
            f"the certificate for RAUC bundles {path} cannot be kept: {error.strerror}",
            remedy="make the site's folder writable and see that the disk has room",
        ) from error


def _signer(site: Site) -> Sign:
    return lambda data: site.signers.sign(Role.RAUC, data)
