# SPDX-License-Identifier: Apache-2.0
"""`assay publish`: put a signed image with its attestations into the store, under its name, version and board."""

from __future__ import annotations

from pathlib import Path

import click

from assay.cli.policy_words import policy_words, skip_policy
from assay.cli.session import Answer, Session, verb
from assay.cli.working import working


@click.command()
@click.argument("signed_dir", type=click.Path(path_type=Path))
@skip_policy
@verb
def command(session: Session, signed_dir: Path, unsafe_skip_policy: str | None) -> Answer:
    """Publish what `assay sign` left in SIGNED_DIR, and record the release.

    The same image again is fine; another image under the same name, version and board is refused.
    """
    from assay.pipeline.publishing import publish_signed

    with working(session, f"publishing {signed_dir}"):
        published = publish_signed(signed_dir, session.site, skip_policy=unsafe_skip_policy, say=session.say)
    release = published.release
    text = "\n".join(
        (
            f"{release.reference} for {release.board}",
            f"  manifest  sha256:{published.manifest_sha256}",
            f"  image     {release.image.file_sha256}",
            f"  policy    {policy_words(published.policy)}",
            f"  log       entry {published.record.index} of {published.record.origin}",
            *(f"  caution   {caution}" for caution in published.cautions),
        )
    )
    data = {
        "reference": release.reference,
        "board": release.board,
        "manifest_sha256": published.manifest_sha256,
        "file_sha256": release.image.file_sha256,
        "image_hash": release.image.image_hash,
        "attestations": dict(release.attestations),
        "policy": published.policy.model_dump(mode="json"),
        "record": published.record.model_dump(mode="json"),
        "cautions": list(published.cautions),
    }
    return Answer(text, data)
