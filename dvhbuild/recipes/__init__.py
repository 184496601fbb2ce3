# SPDX-License-Identifier: GPL-2.0-or-later
"""How each component is built: a recipe names all its inputs, and fills a directory of the store."""

from dvhbuild.recipes.bochs import BochsRecipe
from dvhbuild.recipes.busybox import BusyboxRecipe
from dvhbuild.recipes.guest import GuestRecipe
from dvhbuild.recipes.iperf import IperfRecipe
from dvhbuild.recipes.kernel import KernelRecipe
from dvhbuild.recipes.modules import KvmModulesRecipe, ModularKernelRecipe
from dvhbuild.recipes.qemu import QemuRecipe
from dvhbuild.recipes.qtests import QtestsRecipe
from dvhbuild.recipes.selftests import SelftestsRecipe
from dvhbuild.recipes.workloads import WorkloadsRecipe

__all__ = [
    "BochsRecipe",
    "BusyboxRecipe",
    "GuestRecipe",
    "IperfRecipe",
    "KernelRecipe",
    "KvmModulesRecipe",
    "ModularKernelRecipe",
    "QemuRecipe",
    "QtestsRecipe",
    "SelftestsRecipe",
    "WorkloadsRecipe",
]
