/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef LOAD_H
#define LOAD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Prints "dvhload: MESSAGE" and exits 1. */
void die(const char *format, ...) __attribute__((noreturn, format(printf, 1, 2)));

/* Runs the caller, and whom it starts, on that CPU alone. */
void pin(int cpu);

static inline uint64_t rdtsc(void)
{
	uint32_t low, high;

	__asm__ volatile("rdtsc" : "=a"(low), "=d"(high) : : "memory");
	return (uint64_t)high << 32 | low;
}

enum { SECOND = 1000000000 /* ns */ };

/* Returns CLOCK_MONOTONIC in nanoseconds. */
int64_t now(void);

struct clocks {
	int64_t time;
	uint64_t tsc;
};

struct clocks read_clocks(void);

/* Turns nanoseconds into ticks of the TSC, by the rate of the two clocks since `begin`. */
void to_ticks(uint64_t *results, uint64_t count, const struct clocks *begin);

uint64_t *results_of(uint64_t count);

/* Calls once() `warmup` times, then `count` times, between the probe's markers if `mark`; keeps what the latter return. */
void repeat(uint64_t (*once)(void), uint64_t *results, uint64_t count, uint64_t warmup, bool mark);

/* Prints a result line like the probe's, and sorts `ticks` for it. */
void report(const char *operation, uint64_t *ticks, uint64_t count, uint64_t early);

/* Prints a result line of what is not measured one by one. */
void report_total(const char *operation, uint64_t count, uint64_t ticks);

/*
 * Operations: each performs and reports `count` of them, between markers if `mark`; `words` is what more the command said,
 * with a NULL at the end.
 */

/* IPIs to a CPU that runs; sleeps, each until a moment that is near. */
void send_ipis(uint64_t count, bool mark, char **words);
void sleep_until(uint64_t count, bool mark, char **words);

/* Writes to the doorbell of the PCI device words[0]. */
void ring(uint64_t count, bool mark, char **words);

/* Exchanges with the address words[0]. */
void ping(uint64_t count, bool mark, char **words);
void echo(uint64_t count, bool mark, char **words);
void stream(uint64_t count, bool mark, char **words);
void maerts(uint64_t count, bool mark, char **words);

/* Reads of the disk words[0], which begins as the file words[1] does. */
void read_disk(uint64_t count, bool mark, char **words);

/* What both ends of a network agree on. */
enum { ECHO_PORT = 7, STREAM_PORT = 9, MAERTS_PORT = 19, BLOCK_WORDS = 2048 };

void receive_all(int fd, void *data, size_t size);
void send_all(int fd, const void *data, size_t size);
void make_block(uint64_t *block, uint64_t n);
uint64_t checksum(const uint64_t *words, size_t count);

/* Answers in the background, for as long as there is a kernel. */
void serve(void);

/* Performs `count` requests of the memcached at `address`, and says when they began and ended. */
void ask_memcached(uint64_t count, const char *address);

/* Counts loops on CPU 0 for so long. */
void spin_for(uint64_t milliseconds);

/* Report how late a task on CPU 0 is that a timer wakes, or a task on CPU 1 through a pipe, each time after a while. */
void wake_by_timer(uint64_t count);
void wake_by_pipe(uint64_t count);

/* Reports how late a task is that moves from CPU 1 to CPU 0: no interrupt tells of it, and it takes nobody's CPU away. */
void move_batch(uint64_t count);

/* Reports how long a grace period of RCU takes, for which each CPU must tell that it is idle or has changed tasks. */
void wait_for_readers(uint64_t count);

/* Report how long it took: a spinlock that all want; tasks of many kinds. */
void contend(uint64_t count);
void mix(uint64_t count);

/* Pairs of processes on CPU 0 and CPU 1 that wake each other up, `loops` times each. */
void exchange_between_cpus(unsigned int pairs, unsigned int loops);
void hackbench(unsigned int pairs, unsigned int loops);

#endif
