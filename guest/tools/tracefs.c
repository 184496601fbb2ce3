// SPDX-License-Identifier: GPL-2.0-or-later
/* The controls of the kernel's trace: which events, which clock, how large a buffer. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tracefs.h"
#include "util.h"

#define CLOCK "x86-tsc"

const char *const event_names[EVENTS] = {
	[ENTRY] = "kvm_entry",
	[EXIT] = "kvm_exit",
	[NESTED_VMEXIT] = "kvm_nested_vmexit",
	[INJECT] = "kvm_nested_vmexit_inject",
	[VMENTER] = "kvm_nested_vmenter",
	[VMENTER_FAILED] = "kvm_nested_vmenter_failed",
};

static const char *root(void)
{
	static const char *const roots[] = { "/sys/kernel/tracing", "/sys/kernel/debug/tracing" };
	static const char *found;
	char path[64];
	size_t i;

	for (i = 0; !found && i < 2; i++) {
		snprintf(path, sizeof(path), "%s/tracing_on", roots[i]);
		if (!access(path, F_OK))
			found = roots[i];
	}
	if (!found)
		die("no tracefs: mount -t tracefs none %s", roots[0]);
	return found;
}

const char *tracefs(const char *format, ...)
{
	static char paths[2][256];
	static int turn;
	char *path = paths[turn ^= 1];
	size_t length = snprintf(path, sizeof(paths[0]), "%s/", root());
	va_list args;

	va_start(args, format);
	vsnprintf(path + length, sizeof(paths[0]) - length, format, args);
	va_end(args);
	return path;
}

/* Setting the clock empties the buffers and takes an RCU grace period: only where it changes. */
static void choose_clock(void)
{
	char clocks[512];

	slurp(tracefs("trace_clock"), clocks, sizeof(clocks));
	if (!strstr(clocks, "[" CLOCK "]"))
		put(tracefs("trace_clock"), CLOCK);
}

static void choose_size(unsigned int kilobytes)
{
	char text[64];

	/* "7 (expanded: 1408)" before the first use */
	slurp(tracefs("buffer_size_kb"), text, sizeof(text));
	if (strstr(text, "expanded") || strtoul(text, NULL, 10) < kilobytes) {
		snprintf(text, sizeof(text), "%u", kilobytes);
		put(tracefs("buffer_size_kb"), text);
	}
}

static void switch_events(const char *value)
{
	int event;

	for (event = 1; event < EVENTS; event++)
		put(tracefs("events/kvm/%s/enable", event_names[event]), value);
}

void trace_prepare(unsigned int kilobytes)
{
	trace_off();
	choose_clock();
	choose_size(kilobytes);
	put(tracefs("trace"), ""); /* opened with O_TRUNC: empties all buffers and zeroes their overrun counts */
	switch_events("1");
}

void trace_on(void)
{
	put(tracefs("tracing_on"), "1");
}

void trace_off(void)
{
	put(tracefs("tracing_on"), "0");
}

void trace_finish(void)
{
	switch_events("0");
}
