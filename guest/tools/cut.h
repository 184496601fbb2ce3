/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef CUT_H
#define CUT_H

#include "freeze.h"

/* Empties the trace buffers of all CPUs into a file of compact records; frozen names the VM's threads. */
void cut(const struct frozen *frozen, const char *file);

#endif
