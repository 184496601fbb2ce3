// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Linux's own timers, used as cyclictest does: a real-time thread sleeps until a moment of CLOCK_MONOTONIC and sees how
 * late it is when it goes on. Its CPU idles meanwhile. The lateness is told in ticks of the TSC, by the rate of the two
 * clocks over the whole run.
 */
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "load.h"

enum { WARMUP = 20, CPU = 0, INTERVAL = 100000 /* ns */, SECOND = 1000000000 };

static uint64_t early;

static int64_t now(void)
{
	struct timespec time;

	clock_gettime(CLOCK_MONOTONIC, &time);
	return time.tv_sec * (int64_t)SECOND + time.tv_nsec;
}

/* Returns nanoseconds. */
static uint64_t once(void)
{
	int64_t wake = now() + INTERVAL, late;
	struct timespec until = { .tv_sec = wake / SECOND, .tv_nsec = wake % SECOND };
	int error = clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, NULL);

	late = now() - wake;
	if (error)
		die("clock_nanosleep: %s", strerror(error));
	if (late < 0)
		early++;
	return late < 0 ? 0 : (uint64_t)late;
}

void sleep_until(uint64_t count, bool mark)
{
	struct sched_param priority = { .sched_priority = sched_get_priority_max(SCHED_FIFO) };
	uint64_t *results = results_of(count), tsc;
	int64_t begin;
	double rate;

	pin(CPU);
	if (sched_setscheduler(0, SCHED_FIFO, &priority)) /* others have a timer slack of 50 us */
		die("SCHED_FIFO: %m");
	begin = now();
	tsc = rdtsc();
	repeat(once, results, count, WARMUP, mark);
	rate = (double)(rdtsc() - tsc) / (double)(now() - begin);
	for (uint64_t i = 0; i < count; i++)
		results[i] = (uint64_t)((double)results[i] * rate);
	report("linux-timer", results, count, early);
	free(results);
}
