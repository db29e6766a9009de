# SPDX-License-Identifier: Apache-2.0
"""A verb that takes a name and then somebody's command line: which words are whose.

Guards: options of the verb stand before or behind the name; the command begins behind `--`, or at the first word behind
the name that is no option, and not a word of it is read. Leaves to others: what the options mean (click).
"""

from __future__ import annotations

import click

END = "--"


class CommandBehind(click.Command):
    """As `click.Command`, whose arguments are one name and the words of a command."""

    def __init__(self, *args: object, **settings: object) -> None:
        settings["context_settings"] = {"allow_interspersed_args": False}
        super().__init__(*args, **settings)  # type: ignore[arg-type]

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """As click does, once the options that stand behind the name stand before it."""
        return super().parse_args(ctx, in_order(args, _with_a_value(self, ctx)))


def in_order(words: list[str], with_a_value: frozenset[str]) -> list[str]:
    """`words` with all options first, then the name, then `--` and the command, where there is one.

    Raises `click.UsageError`, also for a `--` with nothing behind it: a variable was empty, and nobody means to hold a
    place for the shell then.
    """
    options: list[str] = []
    name: list[str] = []
    rest = list(words)
    while rest:
        word = rest.pop(0)
        if word == END and name:
            if not rest:
                raise click.UsageError(f"there is no command behind {END}: write one, or leave {END} out")
            return [*options, *name, END, *rest]
        if word == END:
            return [*options, END, *rest]
        if word.startswith("-") and word != "-":
            if word in with_a_value and not rest:
                raise click.BadOptionUsage(word, f"Option '{word}' requires an argument.")
            options += [word, *([rest.pop(0)] if word in with_a_value else [])]
        elif name:
            return [*options, *name, END, word, *rest]
        else:
            name = [word]
    return [*options, *name]


def _with_a_value(command: click.Command, ctx: click.Context) -> frozenset[str]:
    """The options of which the next word is the value."""
    options = [each for each in command.get_params(ctx) if isinstance(each, click.Option)]
    return frozenset(name for each in options if not (each.is_flag or each.count) for name in each.opts)
