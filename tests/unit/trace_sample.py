# SPDX-License-Identifier: Apache-2.0
"""A trace made by hand, with every status, both marks and hostile text, for the tests of the renderers."""

from __future__ import annotations

from assay.model.trace import Detail, LinkCheck, LinkStatus, Mark, Trace, TraceNode, TrustUsed

BUILDER = {"role": "builder", "key_name": "UNSAFE-DEVELOPMENT builder", "keyid": "3f" * 32, "development": True}
STATION = {"role": "station", "key_name": "line 4", "keyid": "a7" * 32}
HEADING = LinkStatus.NOTE
HOSTILE = '<script>alert(1)</script> \x1b[31mred\r\n & "quotes" ‮rtl'


def node(
    link: str, title: str, *children: TraceNode, status: LinkStatus = LinkStatus.VERIFIED, **rest: object
) -> TraceNode:
    return TraceNode(link=link, title=title, status=status, children=children, **rest)  # type: ignore[arg-type]


def sample_trace(*, broken: bool = False) -> Trace:
    built = node(
        "releases/demo-sensor@1.1.0/build",
        "Build: two builds gave the same bytes",
        details=(Detail(name="toolchain", value="ziglang 0.17.1"), Detail(name="commit", value="4b0d513 (clean)")),
        checks=(LinkCheck(what="statement signature", **BUILDER), LinkCheck(what="log inclusion of entry 4")),
        marks=(Mark.DEVELOPMENT,),
    )
    update = node(
        "history/00000012-update",
        "#12 Update to demo-sensor@1.2.0: FAIL, went back to 1.1.0",
        status=LinkStatus.BROKEN if broken else LinkStatus.VERIFIED,
        details=(Detail(name="device said", value=HOSTILE),),
        checks=(LinkCheck(what="statement signature", **STATION),),
        faults=(f"the record has the SHA-256 {'1' * 64}, the log says {'2' * 64}",) if broken else (),
        marks=(Mark.EMULATED,),
    )
    note = node("history/00000013-run", "#13 Interrupted run of update", status=LinkStatus.NOTE)
    root = node(
        "unit",
        "Unit DEMO-000001",
        node("releases", "Releases", node("releases/demo-sensor@1.1.0", "demo-sensor@1.1.0", built), status=HEADING),
        node("history", "History of the unit", update, note, status=HEADING),
        status=HEADING,
        details=(Detail(name="log", value="assay.local/9f3c, 21 entries"),),
    )
    trust = TrustUsed(name="demo", sha256="c0" * 32, allow_development=True, allow_emulated=True)
    return Trace(serial="DEMO-000001", source="site", trust=trust, origin="assay.local/9f3c", tree_size=21, root=root)
