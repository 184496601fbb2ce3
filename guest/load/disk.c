// SPDX-License-Identifier: GPL-2.0-or-later
/* Reads of 4 KiB of a disk, past the page cache, here and there, each compared with a file that holds the same. */
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "load.h"

enum { WARMUP = 20, CPU = 0, SIZE = 4096, STRIDE = 1237 /* blocks */ };

static int disk;
static const char *expected;
static off_t blocks;
static uint64_t number;

static uint64_t once(void)
{
	static char data[SIZE] __attribute__((aligned(SIZE)));
	off_t at = (off_t)(++number * STRIDE) % blocks * SIZE;
	uint64_t start = rdtsc();
	ssize_t n = pread(disk, data, SIZE, at);

	start = rdtsc() - start;
	if (n != SIZE)
		die("read %lu: %m", number);
	if (memcmp(data, expected + at, SIZE))
		die("read %lu: at %ld is not what was written there", number, at);
	return start;
}

static off_t size_of(int fd, const char *name)
{
	off_t size = lseek(fd, 0, SEEK_END);

	if (fd < 0 || size < SIZE)
		die("%s: nothing to read: %m", name);
	return size;
}

/* In memory, so that no disk but the one is read meanwhile. */
static const char *load(const char *name, off_t size)
{
	int fd = open(name, O_RDONLY | O_CLOEXEC);
	char *data = malloc((size_t)size);

	if (size_of(fd, name) < size)
		die("%s: shorter than the disk", name);
	if (!data || pread(fd, data, (size_t)size, 0) != size)
		die("%s: cannot read %ld bytes: %m", name, size);
	close(fd);
	return data;
}

void read_disk(uint64_t count, bool mark, char **words)
{
	uint64_t *ticks = results_of(count);
	off_t size;

	if (!words[0] || !words[1])
		die("read: which disk, and what should be there?");
	disk = open(words[0], O_RDONLY | O_DIRECT | O_CLOEXEC);
	size = size_of(disk, words[0]);
	blocks = size / SIZE;
	expected = load(words[1], size);
	pin(CPU);
	repeat(once, ticks, count, WARMUP, mark);
	report("linux-read", ticks, count, 0);
	free(ticks);
}
