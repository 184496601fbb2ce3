// SPDX-License-Identifier: GPL-2.0-or-later
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "util.h"

static void say(const char *format, va_list args)
{
	fflush(stdout);
	fputs("kvmwindow: ", stderr);
	vfprintf(stderr, format, args);
}

void die(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	say(format, args);
	va_end(args);
	fputc('\n', stderr);
	exit(1);
}

void die_errno(const char *format, ...)
{
	int error = errno;
	va_list args;

	va_start(args, format);
	say(format, args);
	va_end(args);
	fprintf(stderr, ": %s\n", strerror(error));
	exit(1);
}

ssize_t try_slurp(const char *path, char *buf, size_t size)
{
	size_t length = 0;
	ssize_t got;
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		return -1;
	while (length < size - 1) {
		got = read(fd, buf + length, size - 1 - length);
		if (got < 0) {
			int error = errno;

			close(fd);
			errno = error;
			return -1;
		}
		if (!got)
			break;
		length += got;
	}
	close(fd);
	buf[length] = 0;
	return length;
}

void slurp(const char *path, char *buf, size_t size)
{
	ssize_t got = try_slurp(path, buf, size);

	if (got < 0)
		die_errno("%s", path);
	if ((size_t)got == size - 1)
		die("%s: larger than %zu bytes", path, size - 1);
}

void put(const char *path, const char *value)
{
	size_t length = strlen(value);
	int fd = open(path, O_WRONLY | O_TRUNC | O_CLOEXEC);

	if (fd < 0)
		die_errno("%s", path);
	if (length && write(fd, value, length) != (ssize_t)length)
		die_errno("%s: cannot write %s", path, value);
	close(fd);
}
