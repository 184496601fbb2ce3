/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A virtio disk, by the specification's version 1, as small as can be: one queue, one request at a time (the disk's name,
 * which takes no disk). The doorbell is the notification of that queue.
 */
#include "probe.h"

#define DISK_ID		0x10421af4
#define CAP_VENDOR	9
#define CAP_BAR		4
#define CAP_OFFSET	8
#define CAP_MULTIPLIER	16

/* Where a firmware that assigns no BARs leaves it to us. */
#define FREE_MSIX	0xfe200000
#define FREE_REGISTERS	0xfe210000

enum { COMMON = 1, NOTIFY = 2 };	/* which registers a capability is of */
enum { ACKNOWLEDGE = 1, DRIVER = 2, DRIVER_OK = 4, FEATURES_OK = 8 };	/* status */
enum { F_VERSION_1 = 1u << 0, F_ACCESS_PLATFORM = 1u << 1 };	/* features 32 and 33 */
enum { GET_ID = 8, ID_SIZE = 20, UNANSWERED = 0xff };
enum { NEXT = 1, WRITE = 2 };	/* of descriptors */

/* Fields of 64 bits are written as two of 32. */
struct registers {
	u32 feature_word, feature, driver_word, driver_feature;
	u16 config_vector, queues;
	u8 status, generation;
	u16 queue, size, vector, enable, notify_offset;
	u32 descriptors[2], available[2], used[2];
};

enum { SIZE = 4, PARTS = 3 };	/* entries of the queue, and what a request takes of them */

static struct {
	struct { u64 address; u32 length; u16 flags, next; } descriptors[SIZE];
	struct { u16 flags, index, ring[SIZE]; } available;
	struct { u16 flags, index; struct { u32 id, length; } ring[SIZE]; } used __attribute__((aligned(4)));
} volatile queue __attribute__((aligned(16)));

static struct {
	struct { u32 type, reserved; u64 sector; } head;
	u8 id[ID_SIZE], status;
} volatile request;

static volatile u16 *bell;
static u32 disk_vector;

/* The registers of that kind, and where in configuration space their capability is. */
static u64 find_registers(u32 bdf, u32 kind, u32 *cap)
{
	for (u32 at = pci_capability(bdf, CAP_VENDOR, 0); at; at = pci_capability(bdf, CAP_VENDOR, at)) {
		if (pci_read(bdf, at) >> 24 != kind)
			continue;
		*cap = at;
		return pci_bar(bdf, pci_read(bdf, at + CAP_BAR) & 0xff, ~0xfu, FREE_REGISTERS)
			+ pci_read(bdf, at + CAP_OFFSET);
	}
	return 0;
}

static void write64(volatile u32 field[2], volatile void *address)
{
	field[0] = (u64)address;
	field[1] = 0;
}

static void set_up_queue(volatile struct registers *registers)
{
	for (u32 part = 0; part < PARTS; part++)
		queue.descriptors[part].next = part + 1;
	queue.descriptors[0].address = (u64)&request.head;
	queue.descriptors[0].length = sizeof(request.head);
	queue.descriptors[0].flags = NEXT;
	queue.descriptors[1].address = (u64)request.id;
	queue.descriptors[1].length = ID_SIZE;
	queue.descriptors[1].flags = WRITE | NEXT;
	queue.descriptors[2].address = (u64)&request.status;
	queue.descriptors[2].length = 1;
	queue.descriptors[2].flags = WRITE;
	queue.available.index = queue.used.index = 0;

	registers->queue = 0;
	registers->size = SIZE;
	registers->vector = 0;
	write64(registers->descriptors, &queue.descriptors);
	write64(registers->available, &queue.available);
	write64(registers->used, &queue.used);
	registers->enable = 1;
}

static const char *start_disk(void)
{
	static size_t next;
	u32 bdf = pci_find(DISK_ID), cap, features;
	volatile struct registers *registers;
	u64 notify;

	if (!bdf)
		return "no virtio disk";
	registers = (struct registers *)find_registers(bdf, COMMON, &cap);
	notify = find_registers(bdf, NOTIFY, &cap);
	if (!registers || !notify)
		return "the disk is no virtio device of version 1";
	pci_enable(bdf);
	disk_vector = vectors[next++ % VECTORS];
	if (!pci_msix(bdf, 1, disk_vector, FREE_MSIX))
		return "the disk has no MSI-X";

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
	if (!(registers->status & FEATURES_OK))
		return "the disk wants other features";
	set_up_queue(registers);
	bell = (u16 *)(notify + (u64)registers->notify_offset * pci_read(bdf, cap + CAP_MULTIPLIER));
	registers->status = ACKNOWLEDGE | DRIVER | FEATURES_OK | DRIVER_OK;
	return NULL;
}

/* Of what came in the meantime nothing is known; the doorbell still has to be rung. */
static void put_request(void)
{
	request.head.type = GET_ID;
	request.status = UNANSWERED;
	queue.available.ring[queue.available.index % SIZE] = 0;
	expect(&cpus[1], disk_vector);
	queue.available.index++;
}

static void check_answer(void)
{
	check();
	if (request.status || queue.used.index != queue.available.index)
		fail(&tally.wrong, "the disk's answer: status=%u, used=%u of %u", (u64)request.status,
		     (u64)queue.used.index, (u64)queue.available.index);
}

static u64 ring(void)
{
	u64 start = rdtsc();

	*bell = 0;
	return rdtsc() - start;
}

/* A request that the disk answers, by an interrupt of CPU 1: this proves that the doorbell reaches it. */
static void ask(void)
{
	put_request();
	ring();
	await();
	check_answer();
}

static const char *prepare_doorbell(const struct options *options)
{
	const char *reason = start_disk();

	begin(options, 0);
	if (!reason)
		ask();
	return reason;
}

static void finish_doorbell(void)
{
	ask();
	check_surplus();
}

static const char *prepare_disk(const struct options *options)
{
	const char *reason = start_disk();

	begin(options, 0);
	if (!reason)
		set_mode(MODE_SPIN);
	return reason;
}

static void before_disk(u64 i)
{
	(void)i;
	put_request();
}

static u64 act_disk(void)
{
	u64 start = rdtsc();

	*bell = 0;
	await();
	return until_taken(start);
}

static void finish_disk(void)
{
	set_mode(MODE_PARK);
	check_surplus();
}

const struct op doorbell = {
	.name = "doorbell", .prepare = prepare_doorbell, .act = ring, .finish = finish_doorbell,
};

const struct op disk_interrupt = {
	.name = "disk-interrupt", .prepare = prepare_disk, .before = before_disk, .act = act_disk,
	.after = check_answer, .finish = finish_disk,
};
