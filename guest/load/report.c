// SPDX-License-Identifier: GPL-2.0-or-later
/* What operations cost, in the probe's words. */
#include <stdio.h>
#include <stdlib.h>
#include <sys/io.h>
#include <time.h>

#include "load.h"

/* The probe's: guest/probe/probe.h says why these ports. */
enum { MARK_BEGIN = 0x4d1, MARK_END = 0x4d0, MARK_WINDOW_BEGIN = 0xa1, MARK_WINDOW_END = 0x21 };

static int compare(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return (x > y) - (x < y);
}

/* Nearest rank, as the probe has it. */
static uint64_t percentile(const uint64_t *sorted, uint64_t count, unsigned int percent)
{
	return sorted[(count * percent + 99) / 100 - 1];
}

void repeat(uint64_t (*once)(void), uint64_t *results, uint64_t count, uint64_t warmup, bool mark)
{
	if (mark && iopl(3))
		die("iopl: %m");
	for (uint64_t i = 0; i < warmup; i++)
		results[i % count] = once();
	if (mark)
		outb(0xff, MARK_WINDOW_BEGIN);
	for (uint64_t i = 0; i < count; i++) {
		if (mark)
			outb(0, MARK_BEGIN);
		results[i] = once();
		if (mark)
			outb(0, MARK_END);
	}
	if (mark)
		outb(0xff, MARK_WINDOW_END);
}

uint64_t *results_of(uint64_t count)
{
	uint64_t *results = calloc(count, sizeof(*results));

	if (!results)
		die("no memory for %lu results", count);
	return results;
}

int64_t now(void)
{
	struct timespec time;

	clock_gettime(CLOCK_MONOTONIC, &time);
	return time.tv_sec * (int64_t)SECOND + time.tv_nsec;
}

struct clocks read_clocks(void)
{
	return (struct clocks){ .time = now(), .tsc = rdtsc() };
}

void to_ticks(uint64_t *results, uint64_t count, const struct clocks *begin)
{
	struct clocks end = read_clocks();
	double rate = (double)(end.tsc - begin->tsc) / (double)(end.time - begin->time);

	for (uint64_t i = 0; i < count; i++)
		results[i] = (uint64_t)((double)results[i] * rate);
}

void report_total(const char *operation, uint64_t count, uint64_t ticks)
{
	printf("probe: result op=%s ops=%lu sum=%lu\n", operation, count, ticks);
}

void report(const char *operation, uint64_t *ticks, uint64_t count, uint64_t early)
{
	uint64_t sum = 0;

	qsort(ticks, count, sizeof(*ticks), compare);
	for (uint64_t i = 0; i < count; i++)
		sum += ticks[i];
	printf("probe: result op=%s ops=%lu early=%lu p50=%lu p90=%lu p99=%lu max=%lu sum=%lu\n", operation, count, early,
	       percentile(ticks, count, 50), percentile(ticks, count, 90), percentile(ticks, count, 99),
	       ticks[count - 1], sum);
}
