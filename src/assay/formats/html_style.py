# SPDX-License-Identifier: Apache-2.0
"""The style sheet of the HTML report: system fonts, light and dark, and rules for paper. No markup here."""

from __future__ import annotations

STYLE = """
:root{--bg:#f6f7f9;--card:#fff;--ink:#17202b;--soft:#586474;--line:#d9dee5;--ok:#136c3a;--okbg:#e3f4ea;--bad:#a81624;
--badbg:#fdeaec;--note:#33597d;--notebg:#e8f0f8;--dev:#7d4a00;--devbg:#fff1d6;--emu:#5c3a96;--emubg:#efe8fb;
--focus:#0b62c4}
@media (prefers-color-scheme:dark){:root{--bg:#11161d;--card:#1a212b;--ink:#e6ebf1;--soft:#9dabbb;--line:#313b48;
--ok:#7fd6a2;
--okbg:#15301f;--bad:#ff9aa3;--badbg:#3b171b;--note:#9cc4ea;--notebg:#1b2c3d;--dev:#ffcf7d;--devbg:#3a2a0c;
--emu:#cdb4f7;
--emubg:#2b2140;--focus:#7db5f5}}
*{box-sizing:border-box}
html{-webkit-text-size-adjust:100%}
body{margin:0;background:var(--bg);color:var(--ink);
font:16px/1.5 system-ui,"Segoe UI",Roboto,"Helvetica Neue",Arial,sans-serif}
main,footer{max-width:62rem;margin:0 auto;padding:1.5rem 1.25rem}
h1{font-size:2rem;line-height:1.2;margin:.1rem 0 .75rem;overflow-wrap:anywhere}
h2{font-size:1.2rem;margin:2rem 0 .75rem}
p{margin:.5rem 0}
.kicker{color:var(--soft);margin:0;font-size:.9rem}
.verdict{display:inline-block;font-size:1.15rem;font-weight:650;padding:.4rem .9rem;border-radius:.5rem;
margin:.25rem 0 .75rem}
.verdict.verified{color:var(--ok);background:var(--okbg)}
.verdict.broken{color:var(--bad);background:var(--badbg)}
.banner{padding:.55rem .9rem;border-radius:.5rem;border-left:.3rem solid}
.banner strong{margin-right:.4rem}
.development{color:var(--dev);background:var(--devbg)}
.emulated{color:var(--emu);background:var(--emubg)}
.faults{border:2px solid var(--bad);border-radius:.6rem;padding:.25rem 1.1rem .6rem;margin-top:1.5rem;
background:var(--card)}
.faults h2{color:var(--bad);margin:.75rem 0 .25rem}
.faults li{overflow-wrap:anywhere}
a{color:inherit}
details{background:var(--card);border:1px solid var(--line);border-radius:.55rem;margin:.5rem 0}
details.broken,details.missing{border-color:var(--bad)}
summary{display:flex;flex-wrap:wrap;gap:.35rem .6rem;align-items:center;padding:.5rem .8rem;cursor:pointer;
list-style:none}
summary::-webkit-details-marker{display:none}
summary::before{content:"";flex:none;width:.45rem;height:.45rem;border:solid var(--soft);border-width:0 2px 2px 0;
transform:rotate(-45deg);margin-right:.1rem}
details[open]>summary::before{transform:rotate(45deg)}
summary:focus-visible,a:focus-visible{outline:3px solid var(--focus);outline-offset:2px;border-radius:.4rem}
.title{font-weight:600;flex:1 1 18rem;min-width:0;overflow-wrap:anywhere}
.body{padding:0 .8rem .6rem 1.6rem}
.badge,.mark{flex:none;font-size:.8rem;font-weight:600;padding:.1rem .5rem;border-radius:1rem;white-space:nowrap}
.badge{min-width:6.2rem}
.badge.verified{color:var(--ok);background:var(--okbg)}
.badge.broken,.badge.missing{color:var(--bad);background:var(--badbg)}
.badge.note{color:var(--note);background:var(--notebg)}
.fault{color:var(--bad);overflow-wrap:anywhere}
dl{margin:.35rem 0;font-size:.92rem}
dl div{display:grid;grid-template-columns:9.5rem minmax(0,1fr);gap:.75rem;padding:.1rem 0}
dt{color:var(--soft)}
dd{margin:0;overflow-wrap:anywhere}
.checks{list-style:none;margin:.5rem 0;padding:.5rem 0 0;border-top:1px dashed var(--line);font-size:.88rem}
.checks li{padding:.1rem 0 .1rem 1.3rem;text-indent:-1.3rem;overflow-wrap:anywhere}
.checks li::before{content:"✓";color:var(--ok);display:inline-block;width:1.3rem;text-indent:0}
.checks .mark{text-indent:0;display:inline-block}
.key{color:var(--soft)}
code{font:.88em ui-monospace,SFMono-Regular,Menlo,Consolas,monospace;overflow-wrap:anywhere}
.scroll{overflow-x:auto}
table{border-collapse:collapse;width:100%;font-size:.9rem;background:var(--card);border:1px solid var(--line)}
th,td{text-align:left;padding:.4rem .7rem;border-bottom:1px solid var(--line);vertical-align:top}
footer{color:var(--soft);font-size:.88rem;border-top:1px solid var(--line);margin-top:1rem}
@media (max-width:38rem){dl div{grid-template-columns:1fr;gap:0}.body{padding-left:.8rem}h1{font-size:1.6rem}}
@media print{:root{--bg:#fff;--card:#fff;--ink:#000;--soft:#444;--line:#bbb;--ok:#0b5229;--okbg:#fff;--bad:#8c0f1b;
--badbg:#fff;
--note:#234;--notebg:#fff;--dev:#5e3700;--devbg:#fff;--emu:#3f2670;--emubg:#fff}
body{font-size:10.5pt}main,footer{max-width:none;padding:0}details{border-radius:0;break-inside:auto}
summary,dl div,.checks li,tr{break-inside:avoid}summary{break-after:avoid}summary::before{display:none}
details::details-content{content-visibility:visible;height:auto;display:block}
.badge,.mark,.verdict,.banner{border:1px solid currentColor;padding:0 .35rem}.banner{border-left-width:.3rem}}
@media (forced-colors:active){.badge,.mark,.verdict{border:1px solid}}
@media (prefers-reduced-motion:no-preference){summary::before{transition:transform .12s}}
"""
