/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef TRACEFS_H
#define TRACEFS_H

#include <stddef.h>

/* The events that are traced; the numbers are those of the records that cut.c writes. */
enum event {
	ENTRY = 1,
	EXIT = 2,
	NESTED_VMEXIT = 3,
	INJECT = 4,
	VMENTER = 5,
	VMENTER_FAILED = 6,
	EVENTS
};

extern const char *const event_names[EVENTS];

/* "<tracefs>/" followed by what the format makes; valid until the next call but one. */
const char *tracefs(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* Select clock and buffer size, empty the buffers, switch the events on; tracing_on stays off. */
void trace_prepare(unsigned int kilobytes);
void trace_on(void);
void trace_off(void);
/* Switch the events off, so that a run without a trace pays nothing for them. */
void trace_finish(void);

#endif
