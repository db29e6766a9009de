# SPDX-License-Identifier: Apache-2.0
"""`assay completion`: the script that completes verbs, options and files in a shell."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

from assay.cli.session import Answer, Session, verb

SHELLS = ("bash", "zsh", "fish")

WHERE = {
    "bash": 'add to ~/.bashrc: eval "$(assay completion bash)"',
    "zsh": 'add to ~/.zshrc: eval "$(assay completion zsh)"',
    "fish": "assay completion fish > ~/.config/fish/completions/assay.fish",
}


def script(shell: str) -> str:
    """The completion script of click for `shell`."""
    from assay.cli.main import main

    completion = get_completion_class(shell)
    assert completion is not None, f"click completes in {SHELLS}"
    return completion(main, {}, "assay", "_ASSAY_COMPLETE").source()


@click.command()
@click.argument("shell", type=click.Choice(SHELLS))
@verb
def command(session: Session, shell: str) -> Answer:  # noqa: ARG001 (every verb gets its session)
    """Print the completion script for SHELL.

    bash and zsh: eval "$(assay completion bash)" in the shell's start file; fish: save it under completions/assay.fish.
    """
    text = script(shell)
    return Answer(text, {"shell": shell, "script": text, "install": WHERE[shell]})
