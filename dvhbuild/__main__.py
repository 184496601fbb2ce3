# SPDX-License-Identifier: GPL-2.0-or-later
"""`python -m dvhbuild` is `dvhbuild`."""

from dvhbuild.cli import main

main()
