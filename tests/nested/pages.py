# SPDX-License-Identifier: GPL-2.0-or-later
"""What a reader of the documentation has: its commands, a clone of this checkout, and `dvhbuild` on the PATH."""

import os
import re
import subprocess
import sys

from dvhbuild.settings import ROOT

BLOCK = re.compile(r"^```sh\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def cloned(directory):
    """Clone this checkout into `directory`, which is returned."""
    subprocess.run(["git", "clone", "--quiet", "--shared", ROOT, directory], check=True)
    return directory


def reader(clone, cache, home):
    """The environment of somebody who works in `clone`, with nothing in `home` yet."""
    programs = home / "bin"
    programs.mkdir()
    (programs / "dvhbuild").write_text(f'#!/bin/sh\nexec {sys.executable} -m dvhbuild "$@"\n')
    (programs / "dvhbuild").chmod(0o755)
    return {
        **os.environ,
        "PATH": f"{programs}:{os.environ['PATH']}",
        "PYTHONPATH": str(clone),
        "DVHBUILD_CACHE": str(cache),
        "HOME": str(home),
    }
