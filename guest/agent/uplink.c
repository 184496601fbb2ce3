// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The line to the host: a serial port, a virtio-serial port, or in tests a
 * socket.  It is watched edge-triggered: a virtio port without a host reports
 * POLLHUP for as long as that lasts, and a level-triggered wait would spin.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

#include "agent.h"

#define PORT_NAME "dvh.agent"
#define PORTS "/sys/class/virtio-ports"
/* A serial line is slow: long frames would keep the other channels waiting. */
#define SERIAL_CHUNK 1024
#define RETRIES 12000
#define RETRY_NS 5000000

static bool port_has_name(const char *port, const char *name)
{
	char path[300], text[64];
	ssize_t n;
	int fd;

	snprintf(path, sizeof(path), PORTS "/%s/name", port);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return false;
	n = read(fd, text, sizeof(text) - 1);
	close(fd);
	if (n <= 0)
		return false;
	text[n] = '\0';
	text[strcspn(text, "\n")] = '\0';
	return !strcmp(text, name);
}

static int open_virtio(const char *name)
{
	DIR *dir = opendir(PORTS);
	struct dirent *entry;
	char path[300];
	int fd = -1;

	if (!dir)
		return -1;
	while (fd < 0 && (entry = readdir(dir))) {
		if (!port_has_name(entry->d_name, name))
			continue;
		snprintf(path, sizeof(path), "/dev/%s", entry->d_name);
		fd = open(path, O_RDWR | O_NONBLOCK | O_CLOEXEC);
	}
	closedir(dir);
	return fd;
}

static int open_path(const char *where)
{
	if (!strncmp(where, "fd:", 3)) {
		int fd = atoi(where + 3);

		fcntl(fd, F_SETFD, FD_CLOEXEC);
		return fcntl(fd, F_SETFL, O_NONBLOCK) ? -1 : fd;
	}
	return open(where, O_RDWR | O_NOCTTY | O_NONBLOCK | O_CLOEXEC);
}

/* The port's name arrives after the port, and both after init: look again. */
static int open_when_there(const char *where)
{
	const struct timespec pause = { .tv_nsec = RETRY_NS };

	for (int i = 0; i < RETRIES; i++) {
		int fd;

		if (!strcmp(where, "virtio"))
			fd = open_virtio(PORT_NAME);
		else if (!strncmp(where, "virtio:", 7))
			fd = open_virtio(where + 7);
		else
			fd = open_path(where);
		if (fd >= 0)
			return fd;
		nanosleep(&pause, NULL);
	}
	return -1;
}

static bool make_raw(int fd)
{
	struct termios t;

	if (tcgetattr(fd, &t))
		return false;
	cfmakeraw(&t);
	t.c_cflag |= CLOCAL | CREAD;
	t.c_cflag &= ~(tcflag_t)(CRTSCTS | CSTOPB);
	t.c_cc[VMIN] = 1;
	t.c_cc[VTIME] = 0;
	cfsetspeed(&t, B115200);
	return !tcsetattr(fd, TCSANOW, &t);
}

bool uplink_open(struct uplink *up, const char *where)
{
	up->fd = open_when_there(where);
	if (up->fd < 0) {
		warn("cannot open the uplink", where, errno);
		return false;
	}
	up->chunk = MAX_PAYLOAD;
	if (isatty(up->fd)) {
		up->chunk = SERIAL_CHUNK;
		if (!make_raw(up->fd))
			warn("cannot make the uplink raw", where, errno);
	}
	return true;
}

static void disconnected(struct uplink *up)
{
	up->readable = up->writable = false;
	if (!up->connected)
		return;
	up->connected = false;
	hang_up();
}

void uplink_event(struct uplink *up, uint32_t events)
{
	if (events & EPOLLHUP) {
		/* What came before the hang-up is still to be read. */
		while (uplink_read(up))
			;
		disconnected(up);
		return;
	}
	if (events & EPOLLIN)
		up->readable = true;
	if (!(events & EPOLLOUT))
		return;
	up->writable = true;
	if (!up->connected) {
		up->connected = true;
		up->readable = true;
		send_hello();
	}
}

/* Read once; whether there was anything. */
bool uplink_read(struct uplink *up)
{
	size_t room;
	uint8_t *to = rx_space(&room);
	ssize_t n;

	if (!room)
		return false;
	n = read(up->fd, to, room);
	if (n > 0) {
		rx_added((size_t)n);
		return true;
	}
	if (n < 0 && errno == EINTR)
		return true;
	up->readable = false;
	if (!n || errno != EAGAIN)
		disconnected(up);
	return false;
}

/* Write what the line takes; whether it took any. */
bool uplink_write(struct uplink *up)
{
	bool moved = false;
	size_t len;
	const uint8_t *from = tx_pending(&len);

	while (len && up->writable) {
		ssize_t n = write(up->fd, from, len);

		if (n > 0) {
			tx_drop((size_t)n);
			moved = true;
		} else if (!n || errno != EINTR) {
			up->writable = false;
			if (n < 0 && errno != EAGAIN)
				disconnected(up);
		}
		from = tx_pending(&len);
	}
	return moved;
}
