# SPDX-License-Identifier: Apache-2.0
"""A group of commands that, for a name that it does not have, offers the one that was probably meant."""

from __future__ import annotations

import click


class NearCommands(click.Group):
    """As `click.Group`; nothing is imported for the suggestion but `difflib`."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """As click does; a name that is not there gets a suggestion."""
        try:
            return super().resolve_command(ctx, args)
        except click.UsageError:
            from assay.formats.near_names import near

            found = near(args[0], self.list_commands(ctx)) if args and not args[0].startswith("-") else ()
            if not found:
                raise
            raise click.UsageError(f"No such command '{args[0]}'. Did you mean {' or '.join(found)}?", ctx) from None
