// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * What the host asks for: one function a frame type.  A frame for a channel
 * that is gone is no error: it crossed our EXIT or CLOSE on the line.
 */
#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <time.h>

#include "channel.h"

/* A zero-terminated copy of the rest of a payload; NULL if it is too long. */
static const char *text_of(const struct frame *f, size_t offset)
{
	static char text[MAX_PAYLOAD + 1];

	if (f->len < offset)
		return NULL;
	memcpy(text, f->payload + offset, f->len - offset);
	text[f->len - offset] = '\0';
	return text;
}

static struct channel *free_channel(uint16_t id)
{
	for (struct channel *c = channels; c < channels + MAX_CHANNELS; c++) {
		if (c->kind != FREE)
			continue;
		memset(c, 0, offsetof(struct channel, buf));
		c->id = id;
		c->process.in = c->process.out = -1;
		return c;
	}
	return NULL;
}

static struct channel *open_channel(const struct frame *f, size_t head)
{
	static const char full[] = "too many channels";
	struct channel *c;

	if (f->len < head) {
		tx_error("a request is too short");
		return NULL;
	}
	if (channel_find(f->chan)) {
		tx_error("the channel is in use");
		return NULL;
	}
	c = free_channel(f->chan);
	if (!c)
		tx_send(FRAME_CLOSE, f->chan, full, sizeof(full) - 1);
	else
		c->credit = get32(f->payload);
	return c;
}

static void started(struct channel *c, enum kind kind, int error)
{
	c->kind = kind;
	if (error) {
		c->exited = true;	/* nothing to kill */
		channel_finish(c, strerror(error));
		return;
	}
	c->writable = c->process.out >= 0;
	channel_watch(c);
}

/* window:4, with_input:1, command */
static void on_exec(const struct frame *f)
{
	struct channel *c = open_channel(f, 5);

	if (c)
		started(c, PROCESS, process_start(&c->process, text_of(f, 5), f->payload[4]));
}

/* window:4, rows:2, columns:2, TERM, 0, command */
static void on_pty(const struct frame *f)
{
	struct channel *c = open_channel(f, 9);
	const char *term, *command;

	if (!c)
		return;
	term = text_of(f, 8);
	command = term + strlen(term);
	/* text_of() put a zero of its own after the payload */
	if (command < term + (f->len - 8))
		command++;
	started(c, TERMINAL,
		process_start_pty(&c->process, command, term, get16(f->payload + 4),
				  get16(f->payload + 6)));
}

/* window:4, milliseconds:4, path */
static void on_connect(const struct frame *f)
{
	struct channel *c = open_channel(f, 8);
	const char *path;

	if (!c)
		return;
	path = text_of(f, 8);
	c->kind = CONNECTING;
	c->deadline = now_ms() + get32(f->payload + 4);
	c->peer.sun_family = AF_UNIX;
	if (strlen(path) >= sizeof(c->peer.sun_path)) {
		channel_finish(c, strerror(ENAMETOOLONG));
		return;
	}
	strcpy(c->peer.sun_path, path);
}

static void on_resize(const struct frame *f, struct channel *c)
{
	struct winsize size;

	if (f->len < 4 || c->kind != TERMINAL)
		return;
	size = (struct winsize){ .ws_row = get16(f->payload), .ws_col = get16(f->payload + 2) };
	ioctl(c->process.in, TIOCSWINSZ, &size);
}

static void on_kill(const struct frame *f, struct channel *c)
{
	if (f->len < 1 || c->exited || (c->kind != PROCESS && c->kind != TERMINAL))
		return;
	kill(-c->process.pid, f->payload[0]);
}

static void on_data(const struct frame *f, struct channel *c)
{
	if (c->process.out < 0 && c->kind != CONNECTING)
		return;
	if (sizeof(c->buf) - c->tail < f->len) {
		memmove(c->buf, c->buf + c->head, c->tail - c->head);
		c->tail -= c->head;
		c->head = 0;
	}
	if (sizeof(c->buf) - c->tail < f->len) {
		tx_error("the host sent more than the window");
		return;
	}
	memcpy(c->buf + c->tail, f->payload, f->len);
	c->tail += f->len;
	c->received += (uint32_t)f->len;
}

static void on_close(struct channel *c)
{
	uint16_t id = c->id;

	channel_abandon(c);
	tx_send(FRAME_CLOSE, id, NULL, 0);
}

static void on_ping(const struct frame *f)
{
	struct timespec t;
	uint8_t payload[16] = { 0 };
	uint64_t ns;

	clock_gettime(CLOCK_MONOTONIC, &t);
	ns = (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
	memcpy(payload, f->payload, f->len < 8 ? f->len : 8);
	put32(payload + 8, (uint32_t)ns);
	put32(payload + 12, (uint32_t)(ns >> 32));
	tx_send(FRAME_PONG, 0, payload, sizeof(payload));
}

static void on_channel(const struct frame *f, struct channel *c)
{
	switch (f->type) {
	case FRAME_RESIZE:
		on_resize(f, c);
		break;
	case FRAME_KILL:
		on_kill(f, c);
		break;
	case FRAME_DATA:
		on_data(f, c);
		break;
	case FRAME_WINDOW:
		if (f->len >= 4)
			c->credit += get32(f->payload);
		break;
	case FRAME_EOF:
		c->ending = true;
		break;
	case FRAME_CLOSE:
		on_close(c);
		break;
	}
}

void channel_frame(const struct frame *f)
{
	struct channel *c = channel_find(f->chan);

	switch (f->type) {
	case FRAME_EXEC:
		on_exec(f);
		break;
	case FRAME_PTY:
		on_pty(f);
		break;
	case FRAME_CONNECT:
		on_connect(f);
		break;
	case FRAME_RESET:
		channels_keep(f->payload, f->len / 2);
		send_hello();
		break;
	case FRAME_PING:
		on_ping(f);
		break;
	case FRAME_RESIZE:
	case FRAME_KILL:
	case FRAME_DATA:
	case FRAME_WINDOW:
	case FRAME_EOF:
	case FRAME_CLOSE:
		if (c)
			on_channel(f, c);
		break;
	default:
		tx_error("unknown frame type");
	}
}
