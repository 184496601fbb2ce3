/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What every part of kvmwindow needs: to fail in one line, and to read and write small files. */
#ifndef UTIL_H
#define UTIL_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* Prints "kvmwindow: MESSAGE[: strerror(errno)]" and exits 1. A frozen VM is released by the exit itself. */
void die(const char *format, ...) __attribute__((noreturn, format(printf, 1, 2)));
void die_errno(const char *format, ...) __attribute__((noreturn, format(printf, 1, 2)));

/* Reads a whole small file into buf and ends it with a NUL; returns its length, or -1 with errno. */
ssize_t try_slurp(const char *path, char *buf, size_t size);
void slurp(const char *path, char *buf, size_t size);

/* One write(), as the files of tracefs want it. */
void put(const char *path, const char *value);

static inline uint64_t rdtsc(void)
{
	uint32_t low, high;

	__asm__ volatile("rdtsc" : "=a"(low), "=d"(high));
	return (uint64_t)high << 32 | low;
}

#endif
