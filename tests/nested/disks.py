# SPDX-License-Identifier: GPL-2.0-or-later
"""Disks that guests start from, with something else on them than on the usual one."""

from dvhbuild.image import FilesRecipe
from dvhbuild.recipes import IperfRecipe


def with_kernel(builder, linux):
    """The disk of a Linux, `linux`, for all guests."""
    made, iperf = builder.artifacts, builder.store.obtain(IperfRecipe())
    return builder.store.obtain(FilesRecipe(linux, made.initrd, made.qemu, made.guest, iperf))
