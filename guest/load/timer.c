// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Linux's own timers, used as cyclictest does: a real-time thread sleeps until a moment of CLOCK_MONOTONIC and sees how
 * late it is when it goes on. Its CPU idles meanwhile.
 */
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "load.h"

enum { WARMUP = 20, CPU = 0, INTERVAL = 100000 /* ns */ };

static uint64_t early;

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

void sleep_until(uint64_t count, bool mark, char **words)
{
	struct sched_param priority = { .sched_priority = sched_get_priority_max(SCHED_FIFO) };
	uint64_t *results = results_of(count);
	struct clocks begin;

	(void)words;
	pin(CPU);
	if (sched_setscheduler(0, SCHED_FIFO, &priority)) /* others have a timer slack of 50 us */
		die("SCHED_FIFO: %m");
	begin = read_clocks();
	repeat(once, results, count, WARMUP, mark);
	to_ticks(results, count, &begin);
	report("linux-timer", results, count, early);
	free(results);
}
