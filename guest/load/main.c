// SPDX-License-Identifier: GPL-2.0-or-later
/* dvhload ipi|timer COUNT [mark] | dvhload hackbench PAIRS LOOPS */
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

int main(int argc, char **argv)
{
	bool mark = argc == 4 && !strcmp(argv[3], "mark");

	if ((argc == 3 || mark) && !strcmp(argv[1], "ipi"))
		send_ipis(positive(argv[2]), mark);
	else if ((argc == 3 || mark) && !strcmp(argv[1], "timer"))
		sleep_until(positive(argv[2]), mark);
	else if (argc == 4 && !strcmp(argv[1], "hackbench"))
		hackbench((unsigned int)positive(argv[2]), (unsigned int)positive(argv[3]));
	else
		die("usage: dvhload ipi|timer COUNT [mark] | dvhload hackbench PAIRS LOOPS");
	return 0;
}
