// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Preloaded, this is hackbench's clock. Hackbench reads it twice: when all its processes are ready to begin, and when
 * the last of them has ended. What it did in between is told in ticks of the TSC and, if DVH_MARK is set, lies between
 * the probe's markers.
 */
#include <errno.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/io.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <unistd.h>

/* guest/probe/probe.h says why these ports. */
enum { MARK_BEGIN = 0x4d1, MARK_END = 0x4d0 };

static uint64_t rdtsc(void)
{
	uint32_t low, high;

	__asm__ volatile("rdtsc" : "=a"(low), "=d"(high) : : "memory");
	return (uint64_t)high << 32 | low;
}

/* Both markers are of one CPU: they would be two operations' otherwise. */
static void mark(unsigned short port)
{
	cpu_set_t cpus;

	if (!getenv("DVH_MARK"))
		return;
	CPU_ZERO(&cpus);
	CPU_SET(0, &cpus);
	if (sched_setaffinity(0, sizeof(cpus), &cpus) || iopl(3)) {
		perror("hackbench-clock");
		exit(1);
	}
	outb(0, port);
}

int gettimeofday(struct timeval *restrict time, void *restrict zone)
{
	static uint64_t begin;
	uint64_t tsc = rdtsc();
	long result = syscall(SYS_gettimeofday, time, zone);

	if (!begin) {
		mark(MARK_BEGIN);
		begin = rdtsc();
	} else {
		mark(MARK_END);
		printf("clock: begin=%lu end=%lu\n", begin, tsc);
	}
	return (int)result;
}
