# SPDX-License-Identifier: GPL-2.0-or-later
"""Patches to commits and back: this module is the face, the work is done in the modules that it imports from."""

from __future__ import annotations

from dvhbuild.checkout import Status, checkout, export, status
from dvhbuild.commits import apply
from dvhbuild.patchfiles import Series, load_series
from dvhbuild.patchlint import Finding, Report, check
from dvhbuild.repository import Applied, Imported, import_base, update_worktree

__all__ = [
    "Applied",
    "Finding",
    "Imported",
    "Report",
    "Series",
    "Status",
    "apply",
    "check",
    "checkout",
    "export",
    "import_base",
    "load_series",
    "status",
    "update_worktree",
]
