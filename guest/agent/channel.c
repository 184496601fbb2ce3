// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Channels: each relays bytes between the host and a process, a terminal or a
 * unix socket.  The host grants credit for what it wants to read, so that one
 * channel never fills the line; what the host sends waits in a buffer as large
 * as the window that it was given.
 *
 * Descriptors are watched edge-triggered: `readable` and `writable` hold until
 * a call says EAGAIN, and nothing wakes us while a channel waits for credit.
 */
#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "channel.h"

struct channel channels[MAX_CHANNELS];

int64_t now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

struct channel *channel_find(uint16_t id)
{
	for (struct channel *c = channels; c < channels + MAX_CHANNELS; c++)
		if (c->kind != FREE && c->id == id)
			return c;
	return NULL;
}

static void close_fd(int *fd)
{
	if (*fd < 0)
		return;
	unwatch(*fd);
	close(*fd);
	*fd = -1;
}

static void close_output(struct channel *c)
{
	if (c->process.out == c->process.in)
		c->process.out = -1;
	else
		close_fd(&c->process.out);
}

static void release(struct channel *c)
{
	close_output(c);
	close_fd(&c->process.in);
	c->kind = FREE;
}

void channel_finish(struct channel *c, const char *reason)
{
	tx_send(FRAME_CLOSE, c->id, reason, strlen(reason));
	release(c);
}

/* Give the channel up: whatever runs there is killed. */
void channel_abandon(struct channel *c)
{
	if ((c->kind == PROCESS || c->kind == TERMINAL) && !c->exited)
		kill(-c->process.pid, SIGKILL);
	release(c);
}

static void close_input(struct channel *c)
{
	if (c->process.out == c->process.in)
		c->process.out = -1;
	close_fd(&c->process.in);
}

static void send_exit(struct channel *c)
{
	uint8_t payload[2];

	payload[0] = WIFSIGNALED(c->status);
	payload[1] = (uint8_t)(payload[0] ? WTERMSIG(c->status) : WEXITSTATUS(c->status));
	tx_send(FRAME_EXIT, c->id, payload, sizeof(payload));
	release(c);
}

void channel_watch(struct channel *c)
{
	unsigned int slot = (unsigned int)(c - channels);

	/* A terminal and a socket are one descriptor for both ways. */
	watch(c->process.in, channel_token(slot, c->process.in == c->process.out));
	if (c->process.out >= 0 && c->process.out != c->process.in)
		watch(c->process.out, channel_token(slot, true));
}

void channel_event(unsigned int slot, bool out, uint32_t events)
{
	struct channel *c = &channels[slot];

	if (c->kind == FREE)
		return;
	if (events & (EPOLLIN | EPOLLHUP | EPOLLERR))
		c->readable = true;
	if (out && (events & (EPOLLOUT | EPOLLHUP | EPOLLERR)))
		c->writable = true;
}

/* One step of relaying to the host; whether there may be more to do. */
static bool pump_in(struct channel *c, size_t chunk)
{
	uint8_t *to;
	ssize_t n;

	if (chunk > c->credit)
		chunk = c->credit;
	to = tx_reserve(chunk);
	if (!to)
		return false;
	n = read(c->process.in, to, chunk);
	if (n > 0) {
		tx_commit(FRAME_DATA, c->id, (size_t)n);
		c->credit -= (uint32_t)n;
		c->sent += (uint32_t)n;
		return true;
	}
	if (n < 0 && errno == EINTR)
		return true;
	c->readable = false;
	if (n < 0 && errno == EAGAIN)
		return false;
	if (c->kind == SOCKET)
		channel_finish(c, n < 0 ? strerror(errno) : "");
	else
		close_input(c);
	return false;
}

/* What the host sent goes out as far as the receiver takes it. */
static void pump_out(struct channel *c)
{
	while (c->head < c->tail && c->writable) {
		ssize_t n = write(c->process.out, c->buf + c->head, c->tail - c->head);

		if (n > 0) {
			c->head += (size_t)n;
			c->unacknowledged += (uint32_t)n;
		} else if (n < 0 && errno == EAGAIN) {
			c->writable = false;
		} else if (n < 0 && errno != EINTR) {
			/* Nobody reads this any more: its exit tells the host. */
			c->head = c->tail;
			close_output(c);
			return;
		}
	}
	if (c->head == c->tail)
		c->head = c->tail = 0;
	if (c->unacknowledged >= INPUT_WINDOW / 2) {
		uint8_t payload[4];

		put32(payload, c->unacknowledged);
		tx_send(FRAME_WINDOW, c->id, payload, sizeof(payload));
		c->unacknowledged = 0;
	}
	if (c->ending && c->head == c->tail) {
		c->ending = false;
		if (c->kind == SOCKET)
			shutdown(c->process.out, SHUT_WR);
		else if (c->kind == PROCESS)
			close_output(c);
	}
}

/*
 * What a process wrote was in the pipe before its exit was seen, and a daemon
 * that it left behind may hold the pipe open: nothing to read means all is
 * read.  A terminal passes bytes on later, from a kernel worker, but it is
 * hung up when its session leader exits, so it has an end to wait for.
 */
static bool is_over(const struct channel *c)
{
	if (c->kind == FREE || !c->exited)
		return false;
	return c->process.in < 0 || (c->kind == PROCESS && !c->readable);
}

static bool pump(struct channel *c, size_t chunk)
{
	bool more = false;

	if (c->process.out >= 0)
		pump_out(c);
	if (c->process.in >= 0 && c->readable && c->credit)
		more = pump_in(c, chunk);
	if (is_over(c))
		send_exit(c);
	return more;
}

/* A frame from each channel in turn, as long as the line takes them. */
bool channels_pump(size_t chunk)
{
	static unsigned int first;
	bool more = false;

	for (unsigned int i = 0; i < MAX_CHANNELS; i++) {
		struct channel *c = &channels[(first + i) % MAX_CHANNELS];

		if (c->kind == FREE || c->kind == CONNECTING)
			continue;
		if (!tx_has_room_for_data()) {
			first = (first + i) % MAX_CHANNELS;
			return false;
		}
		more |= pump(c, chunk);
	}
	return more;
}

static void try_connect(struct channel *c)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	int error = 0;

	if (fd < 0 || connect(fd, (struct sockaddr *)&c->peer, sizeof(c->peer)))
		error = errno;
	if (!error) {
		c->kind = SOCKET;
		c->process.in = c->process.out = fd;
		channel_watch(c);
		tx_send(FRAME_OPENED, c->id, NULL, 0);
		return;
	}
	if (fd >= 0)
		close(fd);
	if ((error != ENOENT && error != ECONNREFUSED && error != EAGAIN) || now_ms() >= c->deadline)
		channel_finish(c, strerror(error));
}

/* Try the sockets that were not there; whether some still are not. */
bool channels_connect(void)
{
	bool waiting = false;

	for (struct channel *c = channels; c < channels + MAX_CHANNELS; c++) {
		if (c->kind == CONNECTING)
			try_connect(c);
		waiting |= c->kind == CONNECTING;
	}
	return waiting;
}

void channels_child(pid_t pid, int status)
{
	for (struct channel *c = channels; c < channels + MAX_CHANNELS; c++) {
		if ((c->kind != PROCESS && c->kind != TERMINAL) || c->process.pid != pid)
			continue;
		c->exited = true;
		c->status = status;
		/* The last output may have come after the last look. */
		c->readable = true;
	}
}

/* Close all channels that are not in the host's list. */
void channels_keep(const uint8_t *ids, size_t count)
{
	for (struct channel *c = channels; c < channels + MAX_CHANNELS; c++) {
		bool kept = false;

		for (size_t i = 0; i < count; i++)
			kept |= get16(ids + 2 * i) == c->id;
		if (c->kind != FREE && !kept)
			channel_abandon(c);
	}
}

/* What is open, for HELLO: id, bytes sent, bytes received of each. */
size_t channels_list(uint8_t *out)
{
	uint8_t *p = out;

	for (struct channel *c = channels; c < channels + MAX_CHANNELS; c++) {
		if (c->kind == FREE)
			continue;
		put16(p, c->id);
		put32(p + 2, c->sent);
		put32(p + 6, c->received);
		p += 10;
	}
	return (size_t)(p - out) / 10;
}
