/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A virtio disk with one queue and one request at a time (the disk's name, which takes no disk). The doorbell is the
 * notification of that queue.
 */
#include "probe.h"

#define DISK_ID		0x10421af4

enum { GET_ID = 8, ID_SIZE = 20, UNANSWERED = 0xff };

static volatile struct queue queue;

static struct {
	struct { u32 type, reserved; u64 sector; } head;
	u8 id[ID_SIZE], status;
} volatile request;

static volatile u16 *bell;
static u32 disk_vector;

static const char *start_disk(void)
{
	static struct virtio device;
	static size_t next;
	u32 bdf = pci_find(DISK_ID);
	const char *reason;

	if (!bdf)
		return "no virtio disk";
	disk_vector = vectors[next++ % VECTORS];
	reason = virtio_begin(&device, bdf, 1, disk_vector);
	if (reason)
		return reason;
	bell = virtio_queue(&device, 0, &queue, true);
	virtio_buffer(&queue, 0, &request.head, sizeof(request.head), QUEUE_NEXT);
	virtio_buffer(&queue, 1, request.id, ID_SIZE, QUEUE_WRITE | QUEUE_NEXT);
	virtio_buffer(&queue, 2, &request.status, 1, QUEUE_WRITE);
	virtio_ready(&device);
	return NULL;
}

/* Of what came in the meantime nothing is known; the doorbell still has to be rung. */
static void put_request(void)
{
	request.head.type = GET_ID;
	request.status = UNANSWERED;
	expect(&cpus[1], disk_vector);
	virtio_offer(&queue, 0);
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
