/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef EVENTS_H
#define EVENTS_H

#include <stdint.h>

enum { F_REASON, F_INFO, F_INTR, F_ISA, F_VCPU, F_IMMEDIATE, F_ERROR, FIELDS };

/* Reads where this kernel puts the fields that we want of each event, once. */
void learn_events(void);
/* The enum event of a record's type, 0 if it is none of ours. */
int event_of_type(uint16_t type);
uint64_t get(const unsigned char *data, int event, int which);

#endif
