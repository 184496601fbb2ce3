// SPDX-License-Identifier: GPL-2.0-or-later
/* What a Linux guest performs. */
#include <errno.h>
#include <sched.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "load.h"

void die(const char *format, ...)
{
	va_list args;

	fputs("dvhload: ", stderr);
	va_start(args, format);
	vfprintf(stderr, format, args);
	va_end(args);
	fputc('\n', stderr);
	exit(1);
}

void pin(int cpu)
{
	cpu_set_t cpus;

	CPU_ZERO(&cpus);
	CPU_SET(cpu, &cpus);
	if (sched_setaffinity(0, sizeof(cpus), &cpus))
		die("CPU %d: cannot run there: %m", cpu);
}

static unsigned long positive(const char *word)
{
	char *end;
	unsigned long value;

	errno = 0;
	value = strtoul(word, &end, 10);
	if (errno || *end || end == word || !value)
		die("%s: not a positive number", word);
	return value;
}

static const struct {
	const char *name;
	void (*perform)(uint64_t count, bool mark, char **words);
} operations[] = {
	{ "ipi", send_ipis },
	{ "timer", sleep_until },
	{ "doorbell", ring },
	{ "ping", ping },
	{ "ping-vhost", ping },
	{ "echo", echo },
	{ "echo-vhost", echo },
	{ "stream", stream },
	{ "stream-vhost", stream },
	{ "maerts", maerts },
	{ "maerts-vhost", maerts },
	{ "read", read_disk },
};

static const struct {
	const char *name;
	void (*perform)(uint64_t count);
} loads[] = {
	{ "spin", spin_for },
	{ "nap", wake_by_timer },
	{ "pipe", wake_by_pipe },
	{ "batch", move_batch },
	{ "rcu", wait_for_readers },
	{ "lock", contend },
	{ "mix", mix },
};

/* words: what follows the count, with a NULL at the end. */
static bool perform(const char *name, const char *count, char **words)
{
	bool mark = words[0] && !strcmp(words[0], "mark");

	for (size_t i = 0; i < sizeof(operations) / sizeof(*operations); i++)
		if (!strcmp(name, operations[i].name)) {
			operations[i].perform(positive(count), mark, words + mark);
			return true;
		}
	for (size_t i = 0; i < sizeof(loads) / sizeof(*loads) && !words[0]; i++)
		if (!strcmp(name, loads[i].name)) {
			loads[i].perform(positive(count));
			return true;
		}
	return false;
}

int main(int argc, char **argv)
{
	if (argc == 2 && !strcmp(argv[1], "serve")) {
		serve();
		return 0;
	}
	if (argc == 4 && !strcmp(argv[1], "hackbench")) {
		hackbench((unsigned int)positive(argv[2]), (unsigned int)positive(argv[3]));
		return 0;
	}
	if (argc == 4 && !strcmp(argv[1], "memcached")) {
		ask_memcached(positive(argv[2]), argv[3]);
		return 0;
	}
	if (argc >= 3 && perform(argv[1], argv[2], argv + 3))
		return 0;
	die("usage: dvhload ipi|timer COUNT [mark] | dvhload doorbell COUNT [mark] DEVICE"
	    " | dvhload ping|echo|stream|maerts[-vhost] COUNT [mark] ADDRESS | dvhload read COUNT [mark] DISK FILE"
	    " | dvhload spin MILLISECONDS | dvhload nap|pipe|batch|rcu|lock|mix COUNT"
	    " | dvhload hackbench PAIRS LOOPS | dvhload serve | dvhload memcached COUNT ADDRESS");
}
