# SPDX-License-Identifier: Apache-2.0
"""The public suite's group on delegations, made anew: in which order a client looks for a target that is nowhere, and
where it finds those that are.

A graph is written as words `PARENT>ROLE`, in the order of the lists; `!` behind it: no other role is asked after it;
`=PATTERN`: what is delegated, else everything. `T` is the top.
"""

from __future__ import annotations

import pytest
from tuf_simulator import Client, Simulated

GRAPHS = {
    "T>A": "A",
    "T>A T>B": "AB",
    "T>A T>B B>C": "ABC",
    "T>A T>B A>C A>D": "ACDB",
    "T>A T>B A>C C>D": "ACDB",
    "T>A T>B A>C! A>D": "AC",
    "T>A T>B A>C! C>D": "ACD",
    "T>A! T>B A>C": "AC",
    "T>A=*.py T>B A>C": "B",
    "T>A T>B A>C=*.py C>D": "AB",
    "T>A=*.py! T>B": "B",
    "T>A T>B B>C C>D D>B": "ABCD",
    "T>A A>A": "A",
    "T>A T>B B>C A>C": "ACB",
    "T>A T>B B>C A>C=*.py": "ABC",
}
TREE = "T>A=*.doc T>A=*.md T>B=releases/*/* B>C=releases/x/* B>D=releases/y/*.zip"
FILES = {
    "top": ("T", "", True),
    "README.md": ("A", "A", True),
    "releases/x/app": ("C", "BC", True),
    "releases/y/app.zip": ("D", "BD", True),
    "releases/y/app.tar": ("D", "B", False),
    "releases/z/app.zip": ("D", "B", False),
    "releases/x/deep/app": ("C", "", False),
}


def draw(simulated: Simulated, graph: str) -> None:
    patterns: dict[tuple[str, str], list[str]] = {}
    ends = set()
    for word in graph.split():
        edge, _, pattern = word.removesuffix("!").partition("=")
        parent, child = edge.split(">")
        patterns.setdefault((parent, child), []).append(pattern or "*")
        ends |= {(parent, child)} if word.endswith("!") else set()
    left = dict(patterns)
    while left:
        known = [edge for edge in left if edge[0] == "T" or edge[0] in simulated.delegated]
        for parent, child in known:
            above = "targets" if parent == "T" else parent
            simulated.delegate(above, child, left.pop((parent, child)), terminating=(parent, child) in ends)


def publish(simulated: Simulated) -> None:
    simulated.targets.version += 1
    simulated.next()


def visited(client: Client) -> str:
    """The delegated roles that were asked for, in their order."""
    names = [name.split(".")[1] for name in client.asked() if name.count(".") == 2]
    return "".join(name for name in names if len(name) == 1)


@pytest.mark.parametrize(("graph", "order"), GRAPHS.items(), ids=GRAPHS)
def test_the_order_in_which_roles_are_asked(tuf_client: Client, simulated: Simulated, graph: str, order: str) -> None:
    draw(simulated, graph)
    publish(simulated)
    assert tuf_client.download("nowhere") == 1
    assert visited(tuf_client) == order


@pytest.mark.parametrize(("name", "where"), FILES.items(), ids=FILES)
def test_where_a_target_is_found(
    tuf_client: Client, simulated: Simulated, name: str, where: tuple[str, str, bool]
) -> None:
    """Only by a chain of roles each of which is let do so."""
    role, order, found = where
    draw(simulated, TREE)
    simulated.artifact(name, b"by " + role.encode(), role="targets" if role == "T" else role)
    publish(simulated)
    assert tuf_client.download(name) == (0 if found else 1)
    assert visited(tuf_client) == order
    assert tuf_client.got() == ([b"by " + role.encode()] if found else [])


def test_a_role_that_its_parent_no_longer_vouches_for(tuf_client: Client, simulated: Simulated) -> None:
    """What the client has of it is not used: the parent's next list names another key."""
    simulated.delegate("targets", "A")
    simulated.artifact("one", b"1", role="A")
    publish(simulated)
    assert tuf_client.download("one") == 0
    simulated.artifact("two", b"2", role="A")
    simulated.delegated["A"].version += 1
    delegations = simulated.targets.delegations
    assert delegations is not None and delegations.roles is not None
    from securesystemslib.signer import CryptoSigner

    other = CryptoSigner.generate_ed25519().public_key
    delegations.keys[other.keyid], delegations.roles["A"].keyids = other, [other.keyid]
    publish(simulated)
    assert tuf_client.download("two") == 1
    assert tuf_client.got() == [b"1"]
