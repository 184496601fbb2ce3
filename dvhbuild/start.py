# SPDX-License-Identifier: GPL-2.0-or-later
"""Where the program begins: who interrupts it may do so while the rest of it, which takes long, is imported."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable

_ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

Handler = Callable[[int, object], None] | signal.Handlers


def handle(handler: Handler) -> None:
    """Let `handler` have the signals that end us, but none that we were started to ignore: by nohup, by a shell's &."""
    for sign in _ENDING:
        if signal.getsignal(sign) != signal.SIG_IGN:
            signal.signal(sign, handler)


def main() -> None:
    """Run the command line; exit with the status that it has, 130 when interrupted."""
    handle(_leave)
    from dvhbuild import cli

    cli.main()


def _leave(_sign: int, _frame: object) -> None:
    """End at once: nothing has begun yet, and what is just imported might not let an exception through."""
    os.write(2, b"dvhbuild: interrupted\n")
    os._exit(130)
