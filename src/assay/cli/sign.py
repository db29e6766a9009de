# SPDX-License-Identifier: Apache-2.0
"""`assay sign`: sign a built artifact and attest how it was built."""

from __future__ import annotations

from pathlib import Path

import click

from assay.cli.session import Answer, Session, verb
from assay.cli.working import working


@click.command()
@click.argument("artifact_dir", type=click.Path(path_type=Path))
@click.option("--out", type=click.Path(path_type=Path), help="Folder for the result [default: ARTIFACT_DIR.signed].")
@verb
def command(session: Session, artifact_dir: Path, out: Path | None) -> Answer:
    """Make the MCUboot image of the artifact in ARTIFACT_DIR, sign it, and attest how it was built and what is in it.

    The image key stays in the signer process. The statements are recorded in the site's log.
    """
    from assay.model.trust import Role
    from assay.pipeline.image_signing import IMAGE_FILE, sign_artifact

    out = out or _beside(artifact_dir)
    with working(session, f"signing {artifact_dir}"):
        signed = sign_artifact(artifact_dir, session.site, out)
    image = signed.release.image
    text = "\n".join(
        (
            f"{signed.release.reference} for {signed.release.board}: {image.size} bytes",
            f"  file      {image.file_sha256}",
            f"  hash      {image.image_hash}",
            f"  signed by {session.site.signers.public_key(Role.IMAGE).name}, key {image.keyid[:16]}",
            f"  attested  {', '.join(sorted(signed.release.attestations))}",
            f"  in        {out}",
        )
    )
    release = signed.release.model_dump(mode="json", by_alias=True)
    return Answer(text, {"folder": str(out), "image": str(out / IMAGE_FILE), "release": release})


def _beside(artifact_dir: Path) -> Path:
    """`ARTIFACT_DIR.signed`, also for `.` and for a path that ends in `..`."""
    folder = artifact_dir if artifact_dir.name not in ("", "..") else artifact_dir.resolve()
    return folder.with_name(f"{folder.name}.signed")
