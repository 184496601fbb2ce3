// SPDX-License-Identifier: GPL-2.0-or-later
/* What init does before it serves the host: file systems, lo, a name. */
#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "agent.h"

#define CMDLINE_SIZE 4096
#define DISK_RETRIES 1000
#define DISK_RETRY_NS 10000000

struct mount_point {
	const char *type;
	const char *target;
	unsigned long flags;
	const char *data;
	bool may_lack;		/* a kernel may be built without it */
};

static const struct mount_point mount_points[] = {
	{ "proc", "/proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL, false },
	{ "sysfs", "/sys", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL, false },
	{ "devtmpfs", "/dev", MS_NOSUID, NULL, false },
	{ "devpts", "/dev/pts", MS_NOSUID | MS_NOEXEC, "mode=600,ptmxmode=666", true },
	{ "tmpfs", "/dev/shm", MS_NOSUID | MS_NODEV, "mode=1777", true },
	{ "tmpfs", "/run", MS_NOSUID | MS_NODEV, "mode=755", true },
	{ "tmpfs", "/tmp", MS_NOSUID | MS_NODEV, "mode=1777", true },
	{ "debugfs", "/sys/kernel/debug", 0, NULL, true },
	{ "tracefs", "/sys/kernel/tracing", 0, NULL, true },
};

static void mount_all(void)
{
	for (size_t i = 0; i < sizeof(mount_points) / sizeof(*mount_points); i++) {
		const struct mount_point *m = &mount_points[i];
		int error;

		mkdir(m->target, 0755);
		if (!mount(m->type, m->target, m->type, m->flags, m->data))
			continue;
		error = errno;
		/* ENOENT: sysfs has no such directory for a file system that is not built in. */
		if (!m->may_lack || (error != ENODEV && error != ENOENT))
			warn("cannot mount", m->target, error);
	}
}

/* The value of NAME=value on the kernel's command line, or NULL. */
const char *boot_param(const char *name)
{
	static char cmdline[CMDLINE_SIZE];
	static bool loaded;
	size_t len = strlen(name);

	if (!loaded) {
		int fd = open("/proc/cmdline", O_RDONLY | O_CLOEXEC);
		ssize_t n = fd < 0 ? -1 : read(fd, cmdline, sizeof(cmdline) - 1);

		if (fd >= 0)
			close(fd);
		if (n < 0)
			warn("cannot read", "/proc/cmdline", errno);
		/* Words become strings, one behind the other. */
		for (ssize_t i = 0; i < n; i++)
			if (strchr(" \n", cmdline[i]))
				cmdline[i] = '\0';
		loaded = true;
	}
	for (const char *p = cmdline; p < cmdline + sizeof(cmdline) - 1; p += strlen(p) + 1)
		if (!strncmp(p, name, len) && p[len] == '=')
			return p + len + 1;
	return NULL;
}

static void loopback_up(void)
{
	struct ifreq request = { .ifr_name = "lo" };
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	/* A kernel without a network has no lo to bring up. */
	if (fd < 0)
		return;
	if (!ioctl(fd, SIOCGIFFLAGS, &request)) {
		request.ifr_flags |= IFF_UP;
		if (ioctl(fd, SIOCSIFFLAGS, &request))
			warn("cannot bring up", "lo", errno);
	}
	close(fd);
}

/* dvh.files=vda: the guests' files, a read-only ext4 image, at /dvh */
static void mount_files(void)
{
	const struct timespec pause = { .tv_nsec = DISK_RETRY_NS };
	const char *disk = boot_param("dvh.files");
	char device[64];
	int error = 0;

	if (!disk)
		return;
	snprintf(device, sizeof(device), "/dev/%s", disk);
	mkdir("/dvh", 0755);
	for (int i = 0; i < DISK_RETRIES; i++) {
		if (!mount(device, "/dvh", "ext4", MS_RDONLY | MS_NODEV, NULL))
			return;
		error = errno;
		if (error != ENOENT && error != ENXIO)
			break;
		nanosleep(&pause, NULL);
	}
	warn("cannot mount dvh.files", device, error);
}

void boot(void)
{
	const char *name;

	mount_all();
	setenv("PATH", "/bin:/sbin:/usr/bin:/usr/sbin:/dvh/bin", 1);
	setenv("HOME", "/root", 1);
	setenv("TERM", "dumb", 1);
	setenv("LC_ALL", "C", 1);
	loopback_up();
	name = boot_param("dvh.name");
	if (name) {
		agent_name = name;
		if (sethostname(name, strlen(name)))
			warn("cannot set the host name", name, errno);
	}
	mount_files();
}
