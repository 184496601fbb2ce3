/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef LOAD_H
#define LOAD_H

#include <stdbool.h>
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

uint64_t *results_of(uint64_t count);

/* Calls once() `warmup` times, then `count` times, between the probe's markers if `mark`; keeps what the latter return. */
void repeat(uint64_t (*once)(void), uint64_t *results, uint64_t count, uint64_t warmup, bool mark);

/* Prints a result line like the probe's, and sorts `ticks` for it. */
void report(const char *operation, uint64_t *ticks, uint64_t count, uint64_t early);

/* Performs and reports `count` IPIs to a CPU that runs. */
void send_ipis(uint64_t count, bool mark);

/* Performs and reports `count` sleeps, each until a moment that is near. */
void sleep_until(uint64_t count, bool mark);

/* Pairs of processes on CPU 0 and CPU 1 that wake each other up, `loops` times each. */
void hackbench(unsigned int pairs, unsigned int loops);

#endif
