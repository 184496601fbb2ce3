// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * KVM's counters of one VM, from two sources: the binary statistics of each vCPU (Documentation/virt/kvm/api.rst,
 * KVM_GET_STATS_FD), through the descriptor that QEMU itself holds, and the VM's directory in debugfs.
 *
 * The descriptor is taken over with pidfd_getfd(): opening it in /proc fails (an anonymous inode), and asking the VM's
 * descriptor for another one fails too, as KVM serves its ioctls only to the process that made the VM. QEMU 10 holds one
 * for every vCPU, none for the VM as a whole: the VM's own counters come from debugfs.
 */
#include <dirent.h>
#include <errno.h>
#include <linux/kvm.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "stats.h"
#include "util.h"

#define BLOCK (64 * 1024)
#define DEBUGFS "/sys/kernel/debug/kvm"

static void read_block(int pidfd, int theirs, void *block)
{
	int fd = syscall(SYS_pidfd_getfd, pidfd, theirs, 0);

	if (fd < 0)
		die_errno("pidfd_getfd");
	if (pread(fd, block, BLOCK, 0) < (ssize_t)sizeof(struct kvm_stats_header))
		die_errno("KVM's binary statistics");
	close(fd);
}

/* Histograms are left out: they are of times, not of exits. */
static int print_block(const char *block, const char *who)
{
	const struct kvm_stats_header *header = (const void *)block;
	size_t step = sizeof(struct kvm_stats_desc) + header->name_size;
	unsigned int i;
	int lines = 0;

	for (i = 0; i < header->num_desc; i++) {
		const struct kvm_stats_desc *desc = (const void *)(block + header->desc_offset + i * step);
		uint64_t value;

		if (desc->size != 1)
			continue;
		memcpy(&value, block + header->data_offset + desc->offset, sizeof(value));
		printf("%s %s %llu\n", who, desc->name, (unsigned long long)value);
		lines++;
	}
	return lines;
}

static int print_vcpus(pid_t pid)
{
	static char block[BLOCK] __attribute__((aligned(8)));
	char path[320], link[64], who[32];
	int pidfd = syscall(SYS_pidfd_open, pid, 0);
	struct dirent *entry;
	int lines = 0;
	unsigned int vcpu;
	DIR *dir;

	if (pidfd < 0)
		die_errno("process %d", pid);
	snprintf(path, sizeof(path), "/proc/%d/fd", pid);
	dir = opendir(path);
	if (!dir)
		die_errno("%s", path);
	while ((entry = readdir(dir))) {
		ssize_t length = readlinkat(dirfd(dir), entry->d_name, link, sizeof(link) - 1);

		if (length < 0)
			continue;
		link[length] = 0;
		if (sscanf(link, "anon_inode:kvm-vcpu-stats:%u", &vcpu) != 1)
			continue;
		read_block(pidfd, atoi(entry->d_name), block);
		snprintf(who, sizeof(who), "vcpu%u", vcpu);
		lines += print_block(block, who);
	}
	closedir(dir);
	close(pidfd);
	if (!lines)
		die("process %d holds no statistics of a vCPU: is it a QEMU with -accel kvm?", pid);
	return lines;
}

static int print_directory(const char *name)
{
	char path[600], value[64];
	struct dirent *entry;
	int lines = 0;
	DIR *dir;

	snprintf(path, sizeof(path), DEBUGFS "/%s", name);
	dir = opendir(path);
	if (!dir)
		die_errno("%s", path);
	while ((entry = readdir(dir))) {
		/* mmu_rmaps_stat is a table, and to make it KVM walks all of the VM's memory. */
		if (entry->d_type == DT_DIR || !strcmp(entry->d_name, "mmu_rmaps_stat"))
			continue;
		snprintf(path, sizeof(path), DEBUGFS "/%s/%s", name, entry->d_name);
		slurp(path, value, sizeof(value));
		if (strspn(value, "0123456789") + 1 != strlen(value))
			die("%s: not a number: %s", path, value);
		printf("debugfs %s %s", entry->d_name, value);
		lines++;
	}
	closedir(dir);
	return lines;
}

static int print_debugfs(pid_t pid)
{
	struct dirent *entry;
	int lines = 0;
	DIR *dir = opendir(DEBUGFS);

	if (!dir)
		die_errno(DEBUGFS);
	while ((entry = readdir(dir))) {
		char *end;

		if (strtol(entry->d_name, &end, 10) == pid && *end == '-')
			lines += print_directory(entry->d_name);
	}
	closedir(dir);
	if (!lines)
		die(DEBUGFS ": nothing about process %d", pid);
	return lines;
}

int print_stats(pid_t pid)
{
	return print_vcpus(pid) + print_debugfs(pid);
}
