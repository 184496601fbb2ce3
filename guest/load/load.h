/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef LOAD_H
#define LOAD_H

#include <stdbool.h>
#include <stdint.h>

/* Prints "dvhload: MESSAGE" and exits 1. */
void die(const char *format, ...) __attribute__((noreturn, format(printf, 1, 2)));

/* Runs the caller, and whom it starts, on that CPU alone. */
void pin(int cpu);

/* COUNT IPIs to a CPU that runs; between the probe's markers, if `mark`. Prints a result line like the probe's. */
void send_ipis(uint64_t count, bool mark);

/* Pairs of processes on CPU 0 and CPU 1 that wake each other up, `loops` times each. */
void hackbench(unsigned int pairs, unsigned int loops);

#endif
