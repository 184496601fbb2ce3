/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A virtio device on PCI, by the specification's version 1, as small as can be: short queues, one interrupt for all. */
#include "probe.h"

#define CAP_VENDOR	9
#define CAP_BAR		4
#define CAP_OFFSET	8
#define CAP_MULTIPLIER	16

/* Where a firmware that assigns no BARs leaves it to us: for each slot 128 KiB, half of it for MSI-X. */
#define FREE_REGISTERS(bdf)	(0xfe200000 + ((bdf) << 14))
#define FREE_MSIX(bdf)		(FREE_REGISTERS(bdf) + 0x10000)

enum { COMMON = 1, NOTIFY = 2 };	/* which registers a capability is of */
enum { ACKNOWLEDGE = 1, DRIVER = 2, DRIVER_OK = 4, FEATURES_OK = 8 };	/* status */
enum { F_VERSION_1 = 1u << 0, F_ACCESS_PLATFORM = 1u << 1 };	/* features 32 and 33 */
enum { NO_VECTOR = 0xffff };
enum { NO_INTERRUPT = 1 };	/* flag of the available ring */

/* Fields of 64 bits are written as two of 32. */
struct registers {
	u32 feature_word, feature, driver_word, driver_feature;
	u16 config_vector, queues;
	u8 status, generation;
	u16 queue, size, vector, enable, notify_offset;
	u32 descriptors[2], available[2], used[2];
};

/* The registers of that kind, and where in configuration space their capability is. */
static u64 find_registers(u32 bdf, u32 kind, u32 *cap)
{
	for (u32 at = pci_capability(bdf, CAP_VENDOR, 0); at; at = pci_capability(bdf, CAP_VENDOR, at)) {
		if (pci_read(bdf, at) >> 24 != kind)
			continue;
		*cap = at;
		return pci_bar(bdf, pci_read(bdf, at + CAP_BAR) & 0xff, ~0xfu, FREE_REGISTERS(bdf))
			+ pci_read(bdf, at + CAP_OFFSET);
	}
	return 0;
}

const char *virtio_begin(struct virtio *device, u32 bdf, u32 cpu, u32 vector)
{
	volatile struct registers *registers;
	u32 cap, features;

	registers = device->registers = (struct registers *)find_registers(bdf, COMMON, &cap);
	device->notify = find_registers(bdf, NOTIFY, &cap);
	if (!registers || !device->notify)
		return "no virtio device of version 1";
	device->multiplier = pci_read(bdf, cap + CAP_MULTIPLIER);
	pci_enable(bdf);
	if (!pci_msix(bdf, cpu, vector, FREE_MSIX(bdf)))
		return "a virtio device without MSI-X";

	registers->status = 0;
	while (registers->status)
		;
	registers->status = ACKNOWLEDGE | DRIVER;
	registers->feature_word = registers->driver_word = 1;
	features = registers->feature & (F_VERSION_1 | F_ACCESS_PLATFORM);
	registers->driver_feature = features;
	registers->driver_word = 0;
	registers->driver_feature = 0;
	registers->status = ACKNOWLEDGE | DRIVER | FEATURES_OK;
	return registers->status & FEATURES_OK ? NULL : "a virtio device that wants other features";
}

static void write64(volatile u32 field[2], volatile void *address)
{
	field[0] = (u64)address;
	field[1] = 0;
}

volatile u16 *virtio_queue(struct virtio *device, u16 number, volatile struct queue *queue, bool interrupts)
{
	volatile struct registers *registers = device->registers;

	queue->available.index = queue->used.index = 0;
	queue->available.flags = interrupts ? 0 : NO_INTERRUPT;
	registers->queue = number;
	registers->size = QUEUE_SIZE;
	registers->vector = interrupts ? 0 : NO_VECTOR;
	write64(registers->descriptors, &queue->descriptors);
	write64(registers->available, &queue->available);
	write64(registers->used, &queue->used);
	registers->enable = 1;
	return (u16 *)(device->notify + (u64)registers->notify_offset * device->multiplier);
}

void virtio_ready(struct virtio *device)
{
	device->registers->status = ACKNOWLEDGE | DRIVER | FEATURES_OK | DRIVER_OK;
}

void virtio_buffer(volatile struct queue *queue, u16 part, volatile void *address, u32 length, u16 flags)
{
	queue->descriptors[part].address = (u64)address;
	queue->descriptors[part].length = length;
	queue->descriptors[part].flags = flags;
	queue->descriptors[part].next = part + 1;
}

void virtio_offer(volatile struct queue *queue, u16 part)
{
	queue->available.ring[queue->available.index % QUEUE_SIZE] = part;
	queue->available.index++;
}
