/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What boot.S and the C code both need to know. */
#ifndef LAYOUT_H
#define LAYOUT_H

#define GDT_CODE32	0x08
#define GDT_DATA	0x10
#define GDT_CODE64	0x18

#define TRAMPOLINE	0x8000	/* page that the SIPI names; free once the firmware has left */
#define STACK_SIZE	16384

#endif
