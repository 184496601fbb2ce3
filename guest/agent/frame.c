// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Frames on the uplink:
 *
 *   d5 76 | seq | type | chan:2 | len:2 | check | payload[len] | crc:2
 *
 * all little endian.  The CRC (CCITT, from 0xffff) runs from seq to the end of
 * the payload, without check, which is its low byte after len: a damaged
 * length is found at once, not after waiting for bytes that never come.
 */
#include <string.h>

#include "agent.h"

#define MAGIC0 0xd5
#define MAGIC1 0x76
#define HEADER 9
#define TX_SIZE 32768
/* A little, so that a slow line holds little that cannot be overtaken. */
#define TX_DATA_LIMIT 4096
#define TX_CONTROL_LIMIT 16384
#define RX_SIZE 16384

static uint16_t crc_table[256];

static struct {
	uint8_t buf[TX_SIZE];
	size_t head;
	size_t tail;
	uint8_t seq;
} tx;

static struct {
	uint8_t buf[RX_SIZE];
	size_t head;
	size_t tail;
	uint8_t seq;
	bool garbled;
} rx;

void frame_init(void)
{
	for (unsigned int i = 0; i < 256; i++) {
		uint16_t crc = (uint16_t)(i << 8);

		for (int bit = 0; bit < 8; bit++)
			crc = (uint16_t)(crc << 1 ^ (crc & 0x8000 ? 0x1021 : 0));
		crc_table[i] = crc;
	}
}

static uint16_t crc16(uint16_t crc, const uint8_t *p, size_t len)
{
	while (len--)
		crc = (uint16_t)(crc << 8 ^ crc_table[crc >> 8 ^ *p++]);
	return crc;
}

/* Room for a frame with that payload, and where the payload goes. */
uint8_t *tx_reserve(size_t payload)
{
	size_t need = payload + FRAME_OVERHEAD;

	if (TX_SIZE - tx.tail < need) {
		memmove(tx.buf, tx.buf + tx.head, tx.tail - tx.head);
		tx.tail -= tx.head;
		tx.head = 0;
		if (TX_SIZE - tx.tail < need)
			return NULL;
	}
	return tx.buf + tx.tail + HEADER;
}

/* Make a frame of the payload that was put where tx_reserve() said. */
void tx_commit(enum frame_type type, uint16_t chan, size_t len)
{
	uint8_t *p = tx.buf + tx.tail;
	uint16_t crc;

	p[0] = MAGIC0;
	p[1] = MAGIC1;
	p[2] = tx.seq++;
	p[3] = (uint8_t)type;
	put16(p + 4, chan);
	put16(p + 6, (uint16_t)len);
	crc = crc16(0xffff, p + 2, 6);
	p[8] = (uint8_t)crc;
	put16(p + HEADER + len, crc16(crc, p + HEADER, len));
	tx.tail += len + FRAME_OVERHEAD;
}

void tx_send(enum frame_type type, uint16_t chan, const void *data, size_t len)
{
	uint8_t *payload = tx_reserve(len);

	/* Callers ask tx_has_room_for_control() before they take work on. */
	if (!payload) {
		warn("no room for a frame", "uplink", 0);
		return;
	}
	if (len)
		memcpy(payload, data, len);
	tx_commit(type, chan, len);
}

void tx_error(const char *text)
{
	tx_send(FRAME_ERROR, 0, text, strlen(text));
}

bool tx_has_room_for_data(void)
{
	return tx.tail - tx.head < TX_DATA_LIMIT;
}

bool tx_has_room_for_control(void)
{
	return tx.tail - tx.head < TX_CONTROL_LIMIT;
}

const uint8_t *tx_pending(size_t *len)
{
	*len = tx.tail - tx.head;
	return tx.buf + tx.head;
}

void tx_drop(size_t len)
{
	tx.head += len;
	if (tx.head == tx.tail)
		tx.head = tx.tail = 0;
}

void tx_clear(void)
{
	tx.head = tx.tail = 0;
}

uint8_t *rx_space(size_t *len)
{
	if (rx.head) {
		memmove(rx.buf, rx.buf + rx.head, rx.tail - rx.head);
		rx.tail -= rx.head;
		rx.head = 0;
	}
	*len = RX_SIZE - rx.tail;
	return rx.buf + rx.tail;
}

void rx_added(size_t len)
{
	rx.tail += len;
}

void rx_clear(void)
{
	rx.head = rx.tail = 0;
	rx.seq = 0;
	rx.garbled = false;
}

/* Say once for each burst of garbage that there was one. */
static void garbled(void)
{
	if (!rx.garbled)
		tx_error("garbled bytes from the host");
	rx.garbled = true;
}

/* Whether the bytes at p are a whole frame (its size), a part (0) or none (-1). */
static ssize_t frame_at(const uint8_t *p, size_t have)
{
	uint16_t crc;
	size_t len;

	if (p[0] != MAGIC0 || (have > 1 && p[1] != MAGIC1))
		return -1;
	if (have < HEADER)
		return 0;
	len = get16(p + 6);
	crc = crc16(0xffff, p + 2, 6);
	if (len > MAX_PAYLOAD || p[8] != (uint8_t)crc)
		return -1;
	if (have < len + FRAME_OVERHEAD)
		return 0;
	if (crc16(crc, p + HEADER, len) != get16(p + HEADER + len))
		return -1;
	return (ssize_t)(len + FRAME_OVERHEAD);
}

/* The next good frame; what lies before it is skipped, and reported. */
bool rx_next(struct frame *frame)
{
	while (rx.head < rx.tail) {
		const uint8_t *p = rx.buf + rx.head;
		ssize_t size = frame_at(p, rx.tail - rx.head);

		if (!size)
			return false;
		if (size < 0) {
			garbled();
			rx.head++;
			continue;
		}
		rx.head += (size_t)size;
		/* A RESET comes from a host that knows nothing of our count. */
		if (p[2] != rx.seq && p[3] != FRAME_RESET && !rx.garbled)
			tx_error("frames from the host are missing");
		rx.garbled = false;
		rx.seq = (uint8_t)(p[2] + 1);
		frame->type = p[3];
		frame->chan = get16(p + 4);
		frame->len = get16(p + 6);
		frame->payload = p + HEADER;
		return true;
	}
	return false;
}
