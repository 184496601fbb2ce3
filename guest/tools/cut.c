// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The kernel's binary trace buffer -> a stream of compact records, about 6 bytes an event. dvhbuild/trace.py reads them.
 *
 * Nothing is interpreted here: what reaches the host is what the events said, less the fields that nobody asks for.
 * All numbers are LEB128 varints unless the size is given.
 *
 *	magic "DVHTRC1\n" (8 bytes)
 *	record = tag (1 byte: kind in bits 3:0, flags in bits 7:4), then by kind
 *	  1 ENTRY          delta           flag 0x10: an immediate exit is forced
 *	  2 EXIT           delta reason    flag 0x10: + info1, 0x20: + intr_info, 0x40: SVM
 *	  3 NESTED_VMEXIT  delta reason
 *	  4 INJECT         delta reason    flag 0x20: + intr_info
 *	  5 VMENTER        delta
 *	  6 VMENTER_FAILED delta error
 *	  8 CPU            number tsc      a CPU's buffer begins; deltas count from tsc
 *	  9 RUNS           tid             the thread of the following events
 *	 10 VCPU           tid number      the vCPU that this thread runs
 *	 11 THREAD         tid             a thread of the VM that was watched
 *	 12 LOST           overrun commit_overrun dropped missed    at the end of each CPU's buffer: all must be 0
 *	 15 END            events          the number of records of kinds 1 to 6
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cut.h"
#include "events.h"
#include "tracefs.h"
#include "util.h"

#define MAGIC "DVHTRC1\n"
#define MAX_PAGE 65536
#define MAX_VCPUS 256

enum { CPU = 8, RUNS, VCPU, THREAD, LOST, END = 15 };
enum { HAS_INFO = 0x10, IMMEDIATE = 0x10, HAS_INTR = 0x20, IS_SVM = 0x40 };

/* kernel/trace/ring_buffer.c: how events lie in a page */
enum { TYPE_PADDING = 29, TYPE_TIME_EXTEND = 30, TYPE_TIME_STAMP = 31 };
#define MISSED_EVENTS (1u << 31)
#define MISSED_STORED (1u << 30)

static FILE *out;
static uint64_t events;
static struct { uint32_t tid, vcpu; } vcpus[MAX_VCPUS];
static int vcpu_count;

static void number(uint64_t value)
{
	while (value >= 0x80) {
		putc_unlocked((int)(value & 0x7f) | 0x80, out);
		value >>= 7;
	}
	putc_unlocked((int)value, out);
}

static void tag(int kind, uint64_t value)
{
	putc_unlocked(kind, out);
	number(value);
}

static void name_vcpu(uint32_t tid, uint32_t vcpu)
{
	int i;

	for (i = 0; i < vcpu_count; i++)
		if (vcpus[i].tid == tid && vcpus[i].vcpu == vcpu)
			return;
	if (vcpu_count == MAX_VCPUS)
		die("more than %d vCPUs", MAX_VCPUS);
	vcpus[vcpu_count].tid = tid;
	vcpus[vcpu_count++].vcpu = vcpu;
	tag(VCPU, tid);
	number(vcpu);
}

static void emit_exit(const unsigned char *data, uint64_t delta)
{
	uint64_t info = get(data, EXIT, F_INFO), intr = get(data, EXIT, F_INTR);
	int flags = (info ? HAS_INFO : 0) | (intr ? HAS_INTR : 0) | (get(data, EXIT, F_ISA) == 2 ? IS_SVM : 0);

	tag(EXIT | flags, delta);
	number(get(data, EXIT, F_REASON));
	if (info)
		number(info);
	if (intr)
		number(intr);
}

static void emit(int event, const unsigned char *data, uint64_t delta)
{
	uint64_t intr;

	events++;
	switch (event) {
	case ENTRY:
		tag(ENTRY | (get(data, ENTRY, F_IMMEDIATE) ? IMMEDIATE : 0), delta);
		break;
	case EXIT:
		emit_exit(data, delta);
		break;
	case NESTED_VMEXIT:
		tag(event, delta);
		number(get(data, event, F_REASON));
		break;
	case INJECT:
		intr = get(data, event, F_INTR);
		tag(event | (intr ? HAS_INTR : 0), delta);
		number(get(data, event, F_REASON));
		if (intr)
			number(intr);
		break;
	case VMENTER:
		tag(event, delta);
		break;
	case VMENTER_FAILED:
		tag(event, delta);
		number(get(data, event, F_ERROR));
		break;
	}
}

/* One CPU's buffer: where in time and in which thread the next event is. */
struct cursor {
	uint64_t now, written;
	uint32_t tid;
	int begun;
};

static void take_event(struct cursor *cursor, int cpu, const unsigned char *data)
{
	uint32_t tid;
	uint16_t type;
	int event;

	memcpy(&type, data, sizeof(type)); /* struct trace_entry: type, flags, preempt_count, pid */
	memcpy(&tid, data + 4, sizeof(tid));
	event = event_of_type(type);
	if (!event)
		die("an event of type %u, which was not asked for: is somebody else tracing?", type);
	if (!cursor->begun) {
		tag(CPU, cpu);
		number(cursor->written = cursor->now);
		cursor->begun = 1;
	}
	if (tid != cursor->tid)
		tag(RUNS, cursor->tid = tid);
	if (event == ENTRY || event == EXIT)
		name_vcpu(tid, get(data, event, F_VCPU));
	emit(event, data, cursor->now - cursor->written);
	cursor->written = cursor->now;
}

static void take_page(struct cursor *cursor, int cpu, const unsigned char *data, uint32_t size)
{
	uint32_t at = 0;

	while (at + 4 <= size) {
		uint32_t head, extra = 0, type;
		uint64_t delta;

		memcpy(&head, data + at, sizeof(head));
		if (at + 8 <= size)
			memcpy(&extra, data + at + 4, sizeof(extra));
		type = head & 31;
		delta = head >> 5;
		switch (type) {
		case TYPE_PADDING:
			if (!delta)
				return;
			at += 4 + extra;
			break;
		case TYPE_TIME_EXTEND:
			cursor->now += delta + ((uint64_t)extra << 27);
			at += 8;
			break;
		case TYPE_TIME_STAMP: /* the low 59 bits of the clock */
			cursor->now = (cursor->now & ~0ull << 59) | (delta + ((uint64_t)extra << 27));
			at += 8;
			break;
		default:
			cursor->now += delta;
			take_event(cursor, cpu, data + at + (type ? 4 : 8));
			at += 4 + (type ? type * 4 : extra);
		}
	}
}

static unsigned long long count_of(const char *stats, const char *name)
{
	const char *at = strstr(stats, name);
	unsigned long long count;

	if (!at || sscanf(at + strlen(name), ": %llu", &count) != 1)
		die("no '%s' in the buffer's statistics", name);
	return count;
}

static void lost(int cpu, uint64_t missed)
{
	char stats[1024];

	slurp(tracefs("per_cpu/cpu%d/stats", cpu), stats, sizeof(stats));
	tag(LOST, count_of(stats, "\noverrun"));
	number(count_of(stats, "\ncommit overrun"));
	number(count_of(stats, "\ndropped events"));
	number(missed);
}

static size_t page_size(void)
{
	unsigned int offset, length;
	char text[1024];
	const char *at;

	slurp(tracefs("events/header_page"), text, sizeof(text));
	at = strstr(text, "char data;");
	if (!at || sscanf(at, "char data; offset:%u; size:%u;", &offset, &length) != 2)
		die("events/header_page: no data field");
	if (offset != 16 || offset + length > MAX_PAGE)
		die("events/header_page: unknown layout");
	return offset + length;
}

/* Returns 0 if there is no such CPU. */
static int cut_cpu(int cpu, size_t size)
{
	static unsigned char page[MAX_PAGE] __attribute__((aligned(8)));
	struct cursor cursor = { 0 };
	uint64_t missed = 0, commit;
	int fd = open(tracefs("per_cpu/cpu%d/trace_pipe_raw", cpu), O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	ssize_t got;

	if (fd < 0)
		return 0;
	while ((got = read(fd, page, size)) > 0) {
		memcpy(&cursor.now, page, 8);
		memcpy(&commit, page + 8, 8);
		missed += !!(commit & MISSED_EVENTS);
		commit &= ~(uint64_t)(MISSED_EVENTS | MISSED_STORED);
		if (commit > size - 16)
			die("CPU %d: a page that says it holds %llu bytes", cpu, (unsigned long long)commit);
		take_page(&cursor, cpu, page + 16, commit);
	}
	if (got < 0 && errno != EAGAIN)
		die_errno("trace_pipe_raw of CPU %d", cpu);
	close(fd);
	lost(cpu, missed);
	return 1;
}

void cut(const struct frozen *frozen, const char *file)
{
	size_t size = page_size();
	int i;

	learn_events();
	events = 0;
	vcpu_count = 0;
	out = fopen(file, "we");
	if (!out)
		die_errno("%s", file);
	fputs(MAGIC, out);
	for (i = 0; i < frozen->count; i++)
		tag(THREAD, frozen->tids[i]);
	for (i = 0; cut_cpu(i, size); i++)
		;
	tag(END, events);
	if (ferror(out) || fclose(out))
		die_errno("%s", file);
}
