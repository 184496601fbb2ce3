// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Linux's own IPIs: membarrier(2) with MEMBARRIER_CMD_PRIVATE_EXPEDITED interrupts each other CPU that runs a thread of
 * the process, and returns when all have answered. One thread spins on CPU 1, so that each call from CPU 0 is one IPI to
 * a CPU that runs, there and (through memory) back.
 */
#include <linux/membarrier.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "load.h"

enum { WARMUP = 100, SENDER = 0, TARGET = 1 };

static atomic_bool spinning, stop;

static void *spin(void *unused)
{
	pin(TARGET);
	spinning = true;
	while (!stop)
		;
	return unused;
}

static int membarrier(int command)
{
	return (int)syscall(SYS_membarrier, command, 0, 0);
}

static uint64_t once(void)
{
	uint64_t start = rdtsc();

	if (membarrier(MEMBARRIER_CMD_PRIVATE_EXPEDITED))
		die("membarrier: %m");
	return rdtsc() - start;
}

void send_ipis(uint64_t count, bool mark, char **words)
{
	uint64_t *ticks = results_of(count);
	pthread_t target;

	(void)words;
	if (membarrier(MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED))
		die("membarrier: %m");
	pin(SENDER);
	if (pthread_create(&target, NULL, spin, NULL))
		die("no second thread");
	while (!spinning)
		;
	repeat(once, ticks, count, WARMUP, mark);
	stop = true;
	pthread_join(target, NULL);
	report("linux-ipi", ticks, count, 0);
	free(ticks);
}
