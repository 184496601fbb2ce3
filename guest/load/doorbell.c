// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Notifications of the first queue of a virtio device, past its driver, which need not know: a device that is told of
 * nothing new looks, and that is all.
 */
#include <fcntl.h>
#include <linux/pci_regs.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "load.h"

enum { WARMUP = 20, CPU = 0, PAGE = 4096 };
enum { CAP_NOTIFY = 2, CAP_KIND = 3, CAP_BAR = 4, CAP_OFFSET = 8 };	/* virtio 1.3, 4.1.4 */

static volatile uint16_t *bell;

static uint64_t once(void)
{
	uint64_t start = rdtsc();

	*bell = 0;
	return rdtsc() - start;
}

static int open_of(const char *device, const char *file, int flags)
{
	char path[128];
	int fd;

	snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/%s", device, file);
	fd = open(path, flags | O_CLOEXEC);
	if (fd < 0)
		die("%s: %m", path);
	return fd;
}

/* Finds the registers that are written to notify a queue; the first one's, as drivers have them, is at their start. */
static void find_bell(const char *device)
{
	uint8_t config[256] = { 0 }, at;
	int fd = open_of(device, "config", O_RDONLY);
	ssize_t size = read(fd, config, sizeof(config));
	char bar[16];
	uint32_t offset;
	char *page;

	close(fd);
	for (at = config[PCI_CAPABILITY_LIST]; at; at = config[at + PCI_CAP_LIST_NEXT])
		if (config[at] == PCI_CAP_ID_VNDR && config[at + CAP_KIND] == CAP_NOTIFY)
			break;
	if (size != sizeof(config) || !at || at > sizeof(config) - 16)
		die("%s: no virtio device", device);
	offset = *(uint32_t *)(config + at + CAP_OFFSET);
	snprintf(bar, sizeof(bar), "resource%d", config[at + CAP_BAR]);
	fd = open_of(device, bar, O_RDWR);
	page = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, (off_t)(offset & ~(PAGE - 1u)));
	if (page == MAP_FAILED)
		die("%s: its registers cannot be mapped: %m", device);
	close(fd);
	bell = (uint16_t *)(page + offset % PAGE);
}

void ring(uint64_t count, bool mark, char **words)
{
	uint64_t *ticks = results_of(count);

	if (!words[0])
		die("doorbell: of which device?");
	find_bell(words[0]);
	pin(CPU);
	repeat(once, ticks, count, WARMUP, mark);
	report("linux-doorbell", ticks, count, 0);
	free(ticks);
}
