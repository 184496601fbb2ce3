/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What one run cost: order statistics and the most frequent values of the ticks per operation. */
#include "probe.h"

#define FREQUENT	16

static u32 samples[MAX_OPS];
static size_t count;

/* Touches the pages that the run will need, lest the hypervisor maps them within the window. */
void stats_reset(u64 ops)
{
	for (u64 i = 0; i < ops; i += 4096 / sizeof(samples[0]))
		*(volatile u32 *)&samples[i] = 0;
	count = 0;
}

void stats_add(u64 ticks)
{
	if (count < MAX_OPS)
		samples[count++] = ticks > UINT32_MAX ? UINT32_MAX : ticks;
}

static void sift_down(size_t root, size_t size)
{
	u32 value = samples[root];

	for (size_t child = 2 * root + 1; child < size; child = 2 * root + 1) {
		if (child + 1 < size && samples[child] < samples[child + 1])
			child++;
		if (samples[child] <= value)
			break;
		samples[root] = samples[child];
		root = child;
	}
	samples[root] = value;
}

/* Heap sort: in place and never quadratic. */
static void sort(void)
{
	for (size_t root = count / 2; root-- > 0; )
		sift_down(root, count);
	for (size_t size = count; size-- > 1; ) {
		u32 largest = samples[0];

		samples[0] = samples[size];
		samples[size] = largest;
		sift_down(0, size);
	}
}

/* Nearest rank; 0 if nothing was recorded. */
static u64 percentile(u64 percent)
{
	u64 rank = (count * percent + 99) / 100;

	return count ? samples[rank ? rank - 1 : 0] : 0;
}

/* The most frequent first; the smaller one first where two are as frequent. */
static void print_histogram(void)
{
	size_t last = SIZE_MAX, last_start = 0;

	for (int printed = 0; printed < FREQUENT; printed++) {
		size_t best = 0, best_start = 0;

		for (size_t start = 0, end; start < count; start = end) {
			for (end = start; end < count && samples[end] == samples[start]; end++)
				;
			bool was_printed = end - start > last || (end - start == last && start <= last_start);

			if (!(printed && was_printed) && end - start > best) {
				best = end - start;
				best_start = start;
			}
		}
		if (!best)
			break;
		print(" %u:%u", (u64)samples[best_start], (u64)best);
		last = best;
		last_start = best_start;
	}
}

void stats_report(const char *op, const struct tally *tally, bool histogram)
{
	u64 sum = 0;

	sort();
	for (size_t i = 0; i < count; i++)
		sum += samples[i];
	print("probe: result op=%s ops=%u lost=%u early=%u wrong=%u", op, (u64)count, tally->lost, tally->early,
	      tally->wrong);
	print(" min=%u p50=%u p90=%u p99=%u max=%u sum=%u\n", percentile(0), percentile(50), percentile(90),
	      percentile(99), percentile(100), sum);
	if (!histogram)
		return;
	print("probe: hist op=%s", op);
	print_histogram();
	print("\n");
}
