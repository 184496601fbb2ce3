# SPDX-License-Identifier: GPL-2.0-or-later
"""Direct Virtual Hardware for KVM and QEMU: build it, boot nested guests on it, prove what it does."""
