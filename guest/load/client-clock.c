// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Preloaded, this is the clock of a network's client: it says, in ticks of the TSC, when its connection number DVH_CONNECT
 * began, and when the program ended. What it does before, to start up, is no transaction.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

static uint64_t begin;

static uint64_t rdtsc(void)
{
	uint32_t low, high;

	__asm__ volatile("rdtsc" : "=a"(low), "=d"(high) : : "memory");
	return (uint64_t)high << 32 | low;
}

int connect(int fd, const struct sockaddr *address, socklen_t length)
{
	static int connections;
	const char *number = getenv("DVH_CONNECT");

	if (number && ++connections == atoi(number))
		begin = rdtsc();
	return (int)syscall(SYS_connect, fd, address, length);
}

/* A program may have begun a line, whose end comes after this. */
static void __attribute__((destructor)) tell(void)
{
	if (begin)
		dprintf(STDOUT_FILENO, "\nclock: begin=%lu end=%lu\n", begin, rdtsc());
}
