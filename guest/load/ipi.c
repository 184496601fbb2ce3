// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Linux's own IPIs: membarrier(2) with MEMBARRIER_CMD_PRIVATE_EXPEDITED interrupts each other CPU that runs a thread of
 * the process, and returns when all have answered. One thread spins on CPU 1, so that each call from CPU 0 is one IPI to
 * a CPU that runs, there and (through memory) back.
 */
#include <linux/membarrier.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/io.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "load.h"

/* The probe's: guest/probe/probe.h says why these ports. */
enum { MARK_BEGIN = 0x4d1, MARK_END = 0x4d0, MARK_WINDOW_BEGIN = 0xa1, MARK_WINDOW_END = 0x21 };
enum { WARMUP = 100, SENDER = 0, TARGET = 1 };

static atomic_bool spinning, stop;

static uint64_t rdtsc(void)
{
	uint32_t low, high;

	__asm__ volatile("rdtsc" : "=a"(low), "=d"(high) : : "memory");
	return (uint64_t)high << 32 | low;
}

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

static int compare(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return (x > y) - (x < y);
}

static void report(uint64_t *ticks, uint64_t count)
{
	uint64_t sum = 0;

	qsort(ticks, count, sizeof(*ticks), compare);
	for (uint64_t i = 0; i < count; i++)
		sum += ticks[i];
	printf("probe: result op=linux-ipi ops=%lu p50=%lu p90=%lu max=%lu sum=%lu\n", count, ticks[(count - 1) / 2],
	       ticks[(count * 90 + 99) / 100 - 1], ticks[count - 1], sum);
}

void send_ipis(uint64_t count, bool mark)
{
	uint64_t *ticks = calloc(count, sizeof(*ticks));
	pthread_t target;

	if (!ticks)
		die("no memory for %lu results", count);
	if (mark && iopl(3))
		die("iopl: %m");
	if (membarrier(MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED))
		die("membarrier: %m");
	pin(SENDER);
	if (pthread_create(&target, NULL, spin, NULL))
		die("no second thread");
	while (!spinning)
		;

	for (uint64_t i = 0; i < WARMUP; i++)
		ticks[i % count] = once();
	if (mark)
		outb(0xff, MARK_WINDOW_BEGIN);
	for (uint64_t i = 0; i < count; i++) {
		if (mark)
			outb(0, MARK_BEGIN);
		ticks[i] = once();
		if (mark)
			outb(0, MARK_END);
	}
	if (mark)
		outb(0xff, MARK_WINDOW_END);

	stop = true;
	pthread_join(target, NULL);
	report(ticks, count);
	free(ticks);
}
