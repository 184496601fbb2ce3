/* SPDX-License-Identifier: GPL-2.0-or-later */
/* One run: warm up, perform, mark, check, report. */
#include "probe.h"

struct tally tally;

static const char *running;
static u64 failures;

void fail(u64 *counter, const char *format, ...)
{
	va_list args;

	++*counter;
	/* A reason is worth its exits only a few times; the tally has the rest. */
	if (++failures > MAX_FAILURES)
		return;
	print("probe: FAIL op=%s ", running);
	va_start(args, format);
	vprint(format, args);
	va_end(args);
	print("\n");
}

/* A loss costs a timeout of up to a minute on an emulator; one is enough. */
static bool goes_on(void)
{
	return !tally.lost && failures < MAX_FAILURES;
}

static void mark(enum mark how, u16 port)
{
	if (how == MARK_PORT)
		outb(port, 0);
	else if (how == MARK_MSR)
		rdmsr(MARK_MSR_INDEX);
}

static void perform(const struct op *op, u64 i, bool recorded, enum mark how)
{
	u64 ticks;

	if (op->before)
		op->before(i);
	mark(how, MARK_BEGIN);
	ticks = op->act();
	mark(how, MARK_END);
	if (op->after)
		op->after();
	if (recorded)
		stats_add(ticks);
}

void run(const struct op *op, const struct options *options)
{
	const char *reason;

	running = op->name;
	tally = (struct tally){ 0 };
	failures = 0;
	stats_reset(options->count);

	reason = op->prepare ? op->prepare(options) : NULL;
	if (reason) {
		print("probe: error op=%s %s\n", op->name, reason);
		return;
	}
	for (u64 i = 0; i < WARMUP_OPS && goes_on(); i++)
		perform(op, i, false, MARK_NONE);
	if (options->mark)
		outb(MARK_WINDOW_BEGIN, 0xff);
	for (u64 i = 0; i < options->count && goes_on(); i++)
		perform(op, i, true, options->mark);
	if (options->mark)
		outb(MARK_WINDOW_END, 0xff);
	if (op->finish)
		op->finish();

	/* Each character costs a nested guest tens of exits; traced, ticks say nothing. */
	stats_report(op->name, &tally, !options->mark);
	print("probe: done op=%s\n", op->name);
}
