/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef STATS_H
#define STATS_H

#include <sys/types.h>

/* Prints every counter that KVM keeps of the VM of process pid, a line each; returns the number of lines. */
int print_stats(pid_t pid);

#endif
