/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef FREEZE_H
#define FREEZE_H

#include <sys/types.h>

#define MAX_THREADS 512

/* The threads of one process, all of them stopped between freeze() and thaw(). */
struct frozen {
	pid_t pid;
	int count;
	pid_t tids[MAX_THREADS];
};

void freeze(struct frozen *frozen, pid_t pid);
void thaw(struct frozen *frozen);

#endif
