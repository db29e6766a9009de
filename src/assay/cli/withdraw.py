# SPDX-License-Identifier: Apache-2.0
"""`assay withdraw`: take a release back, with a reason; stations that learn of it refuse the release for ever."""

from __future__ import annotations

import click

from assay.cli.session import Answer, Session, verb
from assay.cli.site_names import complete_board, complete_release
from assay.cli.working import working


@click.command(short_help="Withdraw a release, with a reason, for ever.")
@click.argument("release", metavar="NAME@VERSION", shell_complete=complete_release)
@click.option("--board", required=True, metavar="NAME", shell_complete=complete_board, help="The board it is for.")
@click.option("--reason", required=True, help="Why; whoever is refused the release reads it.")
@verb
def command(session: Session, release: str, board: str, reason: str) -> Answer:
    """Withdraw NAME@VERSION: a signed statement in the log, in the store, and in the site's repository if it has one.

    It cannot be taken back: what was withdrawn by mistake is published again under another version.
    """
    from assay.pipeline.repository_publish import publish_withdrawals
    from assay.pipeline.site_repository import SiteRepository
    from assay.pipeline.withdrawing import withdraw

    with working(session, f"withdrawing {release}"):
        done = withdraw(session.site, release, board, reason)
        in_repository = SiteRepository(session.site).is_there
        if in_repository:
            publish_withdrawals(session.site)
    says = done.withdrawn.says
    head = f"{says.release} for {says.board} is withdrawn" + ("" if done.made_now else " (it was before)")
    text = "\n".join((head, f"  reason  {says.reason}", f"  by      {says.by}, {says.at}"))
    data = {"withdrawal": says.model_dump(mode="json"), "made_now": done.made_now, "in_repository": in_repository}
    return Answer(text, data)
