# SPDX-License-Identifier: Apache-2.0
"""What this machine lacks for the tokens of a site: python-pkcs11, and the library of each. No PIN is needed for that.

Leaves to others: the token itself, which `assay keys login` tries.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from assay.pipeline.host_checks import Finding, State, install_line

SOFTHSM_LIBRARY = "libsofthsm2.so"
_EXTRA = "pip install -e '.[hsm]'"


def look_at_tokens(tokens: Mapping[str, Any]) -> Iterator[Finding]:
    """One finding for each of `[tokens]` in keys.toml."""
    for label, token in tokens.items():
        module = str(token.get("module", "")) if isinstance(token, dict) else ""
        name = f"token {label}"
        if importlib.util.find_spec("pkcs11") is None:
            yield Finding(name, State.MISSING, "python-pkcs11 (extra hsm) is not installed", _EXTRA)
        elif not Path(module).is_file():
            fix = install_line("softhsm2") if Path(module).name == SOFTHSM_LIBRARY else ""
            yield Finding(name, State.MISSING, f"its library {module} is not there", fix)
        else:
            yield Finding(name, State.OK, f"library {module}; `assay keys login '{label}'` tries it")
