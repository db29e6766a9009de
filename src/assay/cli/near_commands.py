# SPDX-License-Identifier: Apache-2.0
"""A group of commands: for a name that it does not have it offers the one that was probably meant, and its help says
of each command the whole first sentence.

Guards: an option that names what is acted on is given once, where it takes one: the last one would win, and what the
first one names would be left alone without a word (ADR 0340). Leaves to others: every other mistake, which is click's.
"""

from __future__ import annotations

from collections import Counter

import click

ACTED_ON = frozenset({"--place", "--serial", "--board"})
"""Options that name what a verb does something to."""

SENTENCE_MAX = 1_000
"""Characters; a sentence is never cut."""


class NearCommands(click.Group):
    """As `click.Group`; nothing is imported for the suggestion but `difflib`."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """As click does; a name that is not there gets a suggestion."""
        try:
            name, command, rest = super().resolve_command(ctx, args)
        except click.UsageError:
            from assay.formats.near_names import near

            found = near(args[0], self.list_commands(ctx)) if args and not args[0].startswith("-") else ()
            if not found:
                raise
            raise click.UsageError(f"No such command '{args[0]}'. Did you mean {' or '.join(found)}?", ctx) from None
        if command is not None and not isinstance(command, click.Group) and not ctx.resilient_parsing:
            _check_once(click.Context(command, info_name=name, parent=ctx), rest)
        return name, command, rest

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """As click does, without a cut in the middle of a sentence."""
        commands = ((name, self.get_command(ctx, name)) for name in self.list_commands(ctx))
        rows = [(name, each.get_short_help_str(SENTENCE_MAX)) for name, each in commands if each and not each.hidden]
        with formatter.section("Commands"):
            formatter.write_dl(rows)


def _check_once(inner: click.Context, words: list[str]) -> None:
    """Raises `click.UsageError` for an option of `ACTED_ON` that takes one value and is given several times."""
    try:
        _, _, order = inner.command.make_parser(inner).parse_args(args=list(words))
    except click.UsageError:
        return  # the command itself tells that
    for option, times in Counter(each for each in order if isinstance(each, click.Option)).items():
        told = next((name for name in option.opts if name in ACTED_ON), None)
        if told is not None and times > 1 and not option.multiple:
            raise click.UsageError(f"Option '{told}' is given {times} times, and this takes one: give it once.", inner)
