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
@click.option(
    "--delta-from",
    "bases",
    multiple=True,
    metavar="NAME@VERSION",
    help="Make a patch from this published release, too; may be given several times.",
)
@verb
def command(session: Session, artifact_dir: Path, out: Path | None, bases: tuple[str, ...]) -> Answer:
    """Make the MCUboot image of the artifact in ARTIFACT_DIR, sign it, and attest how it was built and what is in it.

    The image key stays in the signer process. The statements are recorded in the site's log.
    """
    from assay.model.trust import Role
    from assay.pipeline.image_signing import IMAGE_FILE, sign_artifact
    from assay.pipeline.patch_signing import PatchOrder

    out = out or _beside(artifact_dir)
    with working(session, f"signing {artifact_dir}"):
        signed = sign_artifact(artifact_dir, session.site, out, PatchOrder(bases))
    image = signed.release.image
    text = "\n".join(
        (
            f"{signed.release.reference} for {signed.release.board}: {image.size} bytes",
            f"  file      {image.file_sha256}",
            f"  hash      {image.image_hash}",
            f"  signed by {session.site.signers.public_key(Role.IMAGE).name}, key {image.keyid[:16]}",
            f"  attested  {', '.join(sorted(signed.release.attestations))}",
            *(f"  patch     from {patch.base}: {patch.size} bytes" for patch in signed.release.patches),
            *(f"  no patch  {why}" for why in signed.left_out),
            f"  in        {out}",
        )
    )
    release = signed.release.model_dump(mode="json", by_alias=True)
    return Answer(
        text,
        {"folder": str(out), "image": str(out / IMAGE_FILE), "release": release, "left_out": list(signed.left_out)},
    )


def _beside(artifact_dir: Path) -> Path:
    """`ARTIFACT_DIR.signed`, also for `.` and for a path that ends in `..`."""
    folder = artifact_dir if artifact_dir.name not in ("", "..") else artifact_dir.resolve()
    return folder.with_name(f"{folder.name}.signed")
