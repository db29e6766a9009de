# SPDX-License-Identifier: Apache-2.0
"""Sphinx configuration."""

from assay import __version__

project = "assay"
copyright = "the assay authors, Apache-2.0"  # noqa: A001 (Sphinx's own name)
release = version = __version__
extensions = ["myst_parser", "sphinx_click"]
myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3
html_theme = "furo"
html_title = f"assay {__version__}"
exclude_patterns = ["_build"]
nitpicky = True
