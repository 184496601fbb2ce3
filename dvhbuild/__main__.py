# SPDX-License-Identifier: GPL-2.0-or-later
"""`python -m dvhbuild` is `dvhbuild`."""

from dvhbuild.start import main

main()
