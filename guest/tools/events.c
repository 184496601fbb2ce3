// SPDX-License-Identifier: GPL-2.0-or-later
/* The binary layout of the traced events, as the kernel tells it in events/kvm/EVENT/format. */
#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include "events.h"
#include "tracefs.h"
#include "util.h"

#define MAX_TYPE 65536

struct field {
	unsigned int offset, size;
};

static unsigned char types[MAX_TYPE];
static struct field fields[EVENTS][FIELDS];

/* "\tfield:unsigned int exit_reason;\toffset:8;\tsize:4;\tsigned:0;" */
static void find_field(int event, int which, const char *format, const char *name)
{
	struct field *field = &fields[event][which];
	const char *at = format;
	size_t length = strlen(name);

	while ((at = strstr(at, name))) {
		if (isspace((unsigned char)at[-1]) && at[length] == ';' &&
		    sscanf(at + length, "; offset:%u; size:%u;", &field->offset, &field->size) == 2)
			return;
		at += length;
	}
	die("%s has no field %s: another kernel than this program knows", event_names[event], name);
}

static void learn_event(int event)
{
	char format[8192];
	unsigned int id;

	slurp(tracefs("events/kvm/%s/format", event_names[event]), format, sizeof(format));
	if (sscanf(format, "name: %*s ID: %u", &id) != 1 || id >= MAX_TYPE)
		die("%s: no ID in its format", event_names[event]);
	types[id] = event;
	switch (event) {
	case ENTRY:
		find_field(event, F_VCPU, format, "vcpu_id");
		find_field(event, F_IMMEDIATE, format, "immediate_exit");
		break;
	case EXIT:
		find_field(event, F_VCPU, format, "vcpu_id");
		find_field(event, F_INFO, format, "info1");
		find_field(event, F_INTR, format, "intr_info");
		find_field(event, F_ISA, format, "isa");
		/* fall through */
	case NESTED_VMEXIT:
		find_field(event, F_REASON, format, "exit_reason");
		break;
	case INJECT:
		find_field(event, F_REASON, format, "exit_code");
		find_field(event, F_INTR, format, "exit_int_info");
		break;
	case VMENTER_FAILED:
		find_field(event, F_ERROR, format, "err");
		break;
	}
}

uint64_t get(const unsigned char *data, int event, int which)
{
	const struct field *field = &fields[event][which];
	uint64_t value = 0;

	memcpy(&value, data + field->offset, field->size); /* little-endian, as x86 is */
	return value;
}

void learn_events(void)
{
	static int known = 1;

	for (; known < EVENTS; known++)
		learn_event(known);
}

int event_of_type(uint16_t type)
{
	return types[type];
}
