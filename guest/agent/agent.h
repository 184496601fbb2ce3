/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The agent: init of every Linux level, and the far end of the uplink on which
 * the host runs commands.  dvhbuild/frames.py is the other half of the
 * protocol and describes it.
 */
#ifndef DVH_AGENT_H
#define DVH_AGENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define PROTOCOL_VERSION 1
#define MAX_PAYLOAD 4096
#define FRAME_OVERHEAD 11
/* Bytes of a channel that the host may send before it gets a WINDOW. */
#define INPUT_WINDOW 8192
#define MAX_CHANNELS 48

enum frame_type {
	FRAME_EXEC = 1,
	FRAME_PTY = 2,
	FRAME_CONNECT = 3,
	FRAME_RESIZE = 4,
	FRAME_KILL = 5,
	FRAME_RESET = 6,
	FRAME_PING = 7,

	FRAME_DATA = 16,
	FRAME_WINDOW = 17,
	FRAME_EOF = 18,
	FRAME_CLOSE = 19,

	FRAME_HELLO = 32,
	FRAME_OPENED = 33,
	FRAME_EXIT = 34,
	FRAME_PONG = 35,
	FRAME_ERROR = 36,
};

struct frame {
	uint8_t type;
	uint16_t chan;
	size_t len;
	const uint8_t *payload;
};

/* frame.c: bytes to frames and back */
void frame_init(void);
uint8_t *tx_reserve(size_t payload);
void tx_commit(enum frame_type type, uint16_t chan, size_t len);
void tx_send(enum frame_type type, uint16_t chan, const void *data, size_t len);
void tx_error(const char *text);
bool tx_has_room_for_data(void);
bool tx_has_room_for_control(void);
const uint8_t *tx_pending(size_t *len);
void tx_drop(size_t len);
void tx_clear(void);
uint8_t *rx_space(size_t *len);
void rx_added(size_t len);
bool rx_next(struct frame *frame);
void rx_clear(void);

/* uplink.c: the one line to the host */
struct uplink {
	int fd;
	size_t chunk;		/* bytes in one DATA frame at most */
	bool connected;
	bool readable;
	bool writable;
};

bool uplink_open(struct uplink *up, const char *where);
void uplink_event(struct uplink *up, uint32_t events);
bool uplink_read(struct uplink *up);
bool uplink_write(struct uplink *up);

/* channel.c: what runs at this end of each channel */
void channel_event(unsigned int slot, bool out, uint32_t events);
void channel_frame(const struct frame *frame);
bool channels_pump(size_t chunk);
bool channels_connect(void);
void channels_keep(const uint8_t *ids, size_t count);
void channels_child(pid_t pid, int status);
size_t channels_list(uint8_t *out);

/* exec.c: processes */
struct process {
	pid_t pid;
	int in;			/* the process's output; we read it */
	int out;		/* the process's input, or -1 */
};

int process_start(struct process *p, const char *command, bool with_input);
int process_start_pty(struct process *p, const char *command, const char *term,
		      uint16_t rows, uint16_t cols);
void process_console_shell(void);

/* boot.c: what only PID 1 does */
void boot(void);
const char *boot_param(const char *name);

/* main.c */
extern const char *agent_name;
void warn(const char *what, const char *name, int error);
void watch(int fd, uint32_t token);
void unwatch(int fd);
void send_hello(void);
void hang_up(void);
uint32_t channel_token(unsigned int slot, bool out);

static inline uint16_t get16(const uint8_t *p)
{
	return (uint16_t)(p[0] | p[1] << 8);
}

static inline uint32_t get32(const uint8_t *p)
{
	return get16(p) | (uint32_t)get16(p + 2) << 16;
}

static inline void put16(uint8_t *p, uint16_t v)
{
	p[0] = (uint8_t)v;
	p[1] = (uint8_t)(v >> 8);
}

static inline void put32(uint8_t *p, uint32_t v)
{
	put16(p, (uint16_t)v);
	put16(p + 2, (uint16_t)(v >> 16));
}

#endif
