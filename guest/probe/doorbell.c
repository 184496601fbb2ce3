/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The doorbells of QEMU's pci-testdev. */
#include "probe.h"

#define TESTDEV_ID	0x00051b36

/* Where a firmware that assigns no BARs leaves it to us. */
#define FREE_MMIO	0xfe000000
#define FREE_PORTS	0xc000

/* Registers of a BAR of pci-testdev; its device model reads single bytes. */
enum { TEST = 0, OFFSET = 4, VALUE = 8, COUNT = 12 };
enum { NO_EVENTFD = 0, WILDCARD_EVENTFD = 1 };	/* tests; the latter is an ioeventfd without data match */

static u32 testdev_bar[2];
static volatile u8 *mmio_doorbell;
static u16 pio_doorbell;

static bool find_testdev(void)
{
	u32 bdf = pci_find(TESTDEV_ID);

	if (!bdf)
		return false;
	testdev_bar[0] = pci_bar(bdf, 0, ~0xfu, FREE_MMIO);
	testdev_bar[1] = pci_bar(bdf, 1, ~0x3u, FREE_PORTS);
	pci_enable(bdf);
	return true;
}

static u8 testdev_read(int type, u32 offset)
{
	if (type == 0)
		return *(volatile u8 *)(u64)(testdev_bar[0] + offset);
	return inb(testdev_bar[1] + offset);
}

static void testdev_write(int type, u32 offset, u8 value)
{
	if (type == 0)
		*(volatile u8 *)(u64)(testdev_bar[0] + offset) = value;
	else
		outb(testdev_bar[1] + offset, value);
}

static u32 testdev_read32(int type, u32 offset)
{
	u32 value = 0;

	for (int i = 0; i < 4; i++)
		value |= (u32)testdev_read(type, offset + i) << 8 * i;
	return value;
}

/* type: 0 for MMIO, 1 for ports, which is also the BAR. */
static const char *prepare(int type)
{
	u32 offset;

	if (!find_testdev())
		return "no pci-testdev";

	/* Without an eventfd the device counts writes of the right value: this proves that we reach it. */
	testdev_write(type, TEST, NO_EVENTFD);
	testdev_write(type, testdev_read32(type, OFFSET), testdev_read(type, VALUE));
	if (testdev_read32(type, COUNT) != 1)
		return "pci-testdev does not count";

	testdev_write(type, TEST, WILDCARD_EVENTFD);
	offset = testdev_read32(type, OFFSET);
	mmio_doorbell = (u8 *)(u64)(testdev_bar[0] + offset);
	pio_doorbell = testdev_bar[1] + offset;
	return NULL;
}

/* With an eventfd the device model sees none: what it counts has missed the eventfd. */
static void finish(int type)
{
	u32 missed = testdev_read32(type, COUNT);

	if (missed)
		fail(&tally.wrong, "doorbells that missed the eventfd: %u", (u64)missed);
	testdev_write(type, TEST, 0xff);	/* no such test: stop this one */
}

static const char *prepare_mmio(const struct options *options)
{
	(void)options;
	return prepare(0);
}

static const char *prepare_pio(const struct options *options)
{
	(void)options;
	return prepare(1);
}

static void finish_mmio(void)
{
	finish(0);
}

static void finish_pio(void)
{
	finish(1);
}

static u64 ring_mmio(void)
{
	u64 start = rdtsc();

	*mmio_doorbell = 0;
	return rdtsc() - start;
}

static u64 ring_pio(void)
{
	u64 start = rdtsc();

	outb(pio_doorbell, 0);
	return rdtsc() - start;
}

const struct op doorbell_mmio = {
	.name = "doorbell-mmio", .prepare = prepare_mmio, .act = ring_mmio, .finish = finish_mmio,
};

const struct op doorbell_pio = {
	.name = "doorbell-pio", .prepare = prepare_pio, .act = ring_pio, .finish = finish_pio,
};
