/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef DVH_CHANNEL_H
#define DVH_CHANNEL_H

#include <sys/un.h>

#include "agent.h"

enum kind { FREE, PROCESS, TERMINAL, CONNECTING, SOCKET };

struct channel {
	enum kind kind;
	uint16_t id;
	struct process process;
	bool readable;
	bool writable;
	bool ending;		/* the host sent EOF */
	bool exited;
	int status;
	uint32_t credit;	/* bytes that the host still takes */
	uint32_t sent;
	uint32_t received;
	uint32_t unacknowledged;
	size_t head;
	size_t tail;
	int64_t deadline;	/* ms */
	struct sockaddr_un peer;
	uint8_t buf[INPUT_WINDOW];	/* from the host, head to tail */
};

extern struct channel channels[MAX_CHANNELS];

int64_t now_ms(void);
struct channel *channel_find(uint16_t id);
void channel_watch(struct channel *c);
void channel_finish(struct channel *c, const char *reason);
void channel_abandon(struct channel *c);

#endif
