// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * A driver that does not mean well, of a virtio network device: it gives the queue of what is sent memory that there is
 * not, or a size or a place that no queue has, or lies in it, or resets it too early, and notifies the device, or
 * enables the queue, again and again. It starts the device anew now and then.
 * hostile DEVICE LIE COUNT
 *
 * Or, beside the device's driver, it gives the queues, the one for control and one that is not there among them, one
 * vector after another, and resets them.
 * hostile DEVICE vectors COUNT
 */
#include <err.h>
#include <fcntl.h>
#include <linux/pci_regs.h>
#include <linux/virtio_config.h>
#include <linux/virtio_pci.h>
#include <linux/virtio_ring.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { PAGE = 4096, REGISTERS = 0x4000, RX = 0, TX = 1, QUEUES = 4, SIZE = 8, SPREAD = 1024, PER_START = 50 };

static const uint64_t nowhere = 1ull << 38, interrupts = 0xfee00000;

/* The queue's three parts, in one page; the device has it at `address`. */
static uint8_t *page;
static uint64_t address;

static struct vring_desc *descriptors(void)
{
	return (struct vring_desc *)page;
}

static volatile struct vring_avail *available(void)
{
	return (volatile struct vring_avail *)(page + SPREAD);
}

struct lie {
	const char *name;
	uint64_t queue;		/* where the queue is said to be; 0: where it is */
	struct vring_desc descriptor;
	uint16_t head, step;
	uint16_t size;		/* the queue's; 0: SIZE */
	uint8_t odd;		/* how far its rings are from where they may be */
	bool enables;		/* writes `enable` to the queue's register where others notify */
	uint16_t enable;
	bool resets;		/* resets each queue before the device is started */
};

static const struct lie lies[] = {
	{ "queue-nowhere", .queue = nowhere },
	{ "queue-interrupts", .queue = interrupts },
	{ "size-odd", .size = 3 },
	{ "ring-odd", .odd = 1 },
	{ "enable-0", .enables = true, .enable = 0 },
	{ "enable-again", .enables = true, .enable = 1 },
	{ "reset-early", .resets = true },
	{ "buffer-nowhere", 0, { nowhere, 64, 0, 0 }, 0, 1 },
	{ "buffer-interrupts", 0, { interrupts, 64, 0, 0 }, 0, 1 },
	{ "buffer-wraps", 0, { UINT64_MAX - 63, 4096, 0, 0 }, 0, 1 },
	{ "buffer-huge", 0, { 0, UINT32_MAX, 0, 0 }, 0, 1 },
	{ "chain-loops", 0, { 0, 64, VRING_DESC_F_NEXT, 0 }, 0, 1 },
	{ "chain-leaves", 0, { 0, 64, VRING_DESC_F_NEXT, 0x7fff }, 0, 1 },
	{ "table-odd", 0, { 0, 17, VRING_DESC_F_INDIRECT, 0 }, 0, 1 },
	{ "table-in-itself", 0, { 0, 16, VRING_DESC_F_INDIRECT, 0 }, 0, 1 },
	{ "head-beyond", 0, { 0, 64, 0, 0 }, 0x7fff, 1 },
	{ "index-jumps", 0, { 0, 64, 0, 0 }, 0, 0x7000 },
};

static int open_of(const char *device, const char *file)
{
	char path[128];
	int fd;

	snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/%s", device, file);
	fd = open(path, O_RDWR);
	if (fd < 0)
		err(1, "%s", path);
	return fd;
}

/* The registers of the kind `cfg_type` (virtio 1.3, 4.1.4); `last`, if there is one, is what follows their capability. */
static volatile void *registers(const char *device, uint8_t cfg_type, uint32_t *last)
{
	uint16_t command = PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER;
	const struct virtio_pci_cap *cap;
	uint8_t config[256 + 4], at;
	char bar[16];
	char *map;
	int fd;

	fd = open_of(device, "config");
	if (pread(fd, config, 256, 0) != 256 || pwrite(fd, &command, sizeof(command), PCI_COMMAND) != sizeof(command))
		err(1, "%s: config", device);
	close(fd);
	for (at = config[PCI_CAPABILITY_LIST]; at; at = config[at + PCI_CAP_LIST_NEXT]) {
		cap = (const struct virtio_pci_cap *)(config + at);
		if (cap->cap_vndr == PCI_CAP_ID_VNDR && cap->cfg_type == cfg_type)
			break;
	}
	if (!at)
		errx(1, "%s: no virtio device", device);
	if (last)
		memcpy(last, cap + 1, sizeof(*last));
	snprintf(bar, sizeof(bar), "resource%d", cap->bar);
	fd = open_of(device, bar);
	map = mmap(NULL, REGISTERS, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	close(fd);
	if (map == MAP_FAILED)
		err(1, "%s: %s", device, bar);
	return map + cap->offset;
}

static void make_page(void)
{
	uint64_t entry;
	int fd;

	page = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_LOCKED | MAP_POPULATE, -1, 0);
	fd = open("/proc/self/pagemap", O_RDONLY);
	if (page == MAP_FAILED || pread(fd, &entry, 8, (off_t)((uintptr_t)page / PAGE * 8)) != 8 || !(entry >> 63))
		err(1, "pagemap");
	close(fd);
	address = (entry & ((1ull << 55) - 1)) * PAGE;
}

static void reset_queue(volatile struct virtio_pci_common_cfg *common)
{
	/* Behind queue_notify_data (virtio 1.3, 4.1.4.3), which Debian 12's headers do not have either. */
	volatile uint16_t *queue_reset = (volatile uint16_t *)(common + 1) + 1;

	*queue_reset = 1;
}

static void set_queue(volatile struct virtio_pci_common_cfg *common, uint16_t queue, const struct lie *lie)
{
	uint64_t at = lie->queue ? lie->queue : address, avail = at + SPREAD + lie->odd, used = avail + SPREAD;

	common->queue_select = queue;
	common->queue_size = lie->size ? lie->size : SIZE;
	common->queue_desc_lo = (uint32_t)at;
	common->queue_desc_hi = (uint32_t)(at >> 32);
	common->queue_avail_lo = (uint32_t)avail;
	common->queue_avail_hi = (uint32_t)(avail >> 32);
	common->queue_used_lo = (uint32_t)used;
	common->queue_used_hi = (uint32_t)(used >> 32);
	common->queue_enable = 1;
	if (lie->resets)
		reset_queue(common);
}

static void start(volatile struct virtio_pci_common_cfg *common, const struct lie *lie)
{
	uint8_t status = VIRTIO_CONFIG_S_ACKNOWLEDGE | VIRTIO_CONFIG_S_DRIVER;

	common->device_status = 0;
	while (common->device_status)
		;
	common->device_status = status;
	common->guest_feature_select = 0;
	common->guest_feature = 1u << VIRTIO_RING_F_INDIRECT_DESC;
	common->guest_feature_select = 1;
	common->guest_feature = 1u << (VIRTIO_F_VERSION_1 - 32) | 1u << (VIRTIO_F_ACCESS_PLATFORM - 32);
	status |= VIRTIO_CONFIG_S_FEATURES_OK;
	common->device_status = status;
	if (common->device_status != status)
		errx(1, "%s: the device does not take these features", lie->name);
	available()->idx = 0;
	set_queue(common, RX, lie);
	set_queue(common, TX, lie);
	common->device_status = status | VIRTIO_CONFIG_S_DRIVER_OK;
}

static void move_vectors(volatile struct virtio_pci_common_cfg *common, long count)
{
	static const uint16_t vectors[] = { 1, VIRTIO_MSI_NO_VECTOR, 2, 0, 3, 99 };
	long n;

	for (n = 0; n < count; n++) {
		common->queue_select = (uint16_t)(n % QUEUES);
		common->queue_msix_vector = vectors[n % (long)(sizeof(vectors) / sizeof(*vectors))];
		common->msix_config = vectors[n / QUEUES % (long)(sizeof(vectors) / sizeof(*vectors))];
		if (n % PER_START == PER_START - 1)
			reset_queue(common);
	}
}

int main(int argc, char **argv)
{
	volatile struct virtio_pci_common_cfg *common;
	const struct lie *lie = lies;
	uint32_t multiplier;
	volatile char *bells;
	volatile uint16_t *bell;
	long count, n;

	if (argc == 1) {
		for (; lie < lies + sizeof(lies) / sizeof(*lies); lie++)
			puts(lie->name);
		return 0;
	}
	if (argc == 4 && !strcmp(argv[2], "vectors")) {
		move_vectors(registers(argv[1], VIRTIO_PCI_CAP_COMMON_CFG, NULL), atol(argv[3]));
		return 0;
	}
	while (lie < lies + sizeof(lies) / sizeof(*lies) && strcmp(lie->name, argv[2]))
		lie++;
	if (argc != 4 || lie == lies + sizeof(lies) / sizeof(*lies))
		errx(2, "DEVICE LIE COUNT");
	count = atol(argv[3]);
	make_page();
	common = registers(argv[1], VIRTIO_PCI_CAP_COMMON_CFG, NULL);
	bells = registers(argv[1], VIRTIO_PCI_CAP_NOTIFY_CFG, &multiplier);
	*descriptors() = lie->descriptor;
	if (!descriptors()->addr)
		descriptors()->addr = address;
	for (n = 0; n < SIZE; n++)
		available()->ring[n] = lie->head;
	start(common, lie);
	common->queue_select = TX;
	bell = (volatile uint16_t *)(bells + common->queue_notify_off * multiplier);
	for (n = 0; n < count; n++) {
		if (n % PER_START == PER_START - 1)
			start(common, lie);
		available()->idx = (uint16_t)(available()->idx + lie->step);
		if (lie->enables)
			common->queue_enable = lie->enable;
		else
			*bell = TX;
	}
	printf("status %#x used %u\n", common->device_status, ((volatile struct vring_used *)(page + 2 * SPREAD))->idx);
	common->device_status = 0;
	while (common->device_status)
		;
	return 0;
}
