// SPDX-License-Identifier: Apache-2.0
// The other side of the SMP server for the tests, and the stage that it serves.
#ifndef ASSAY_SMP_CLIENT_H
#define ASSAY_SMP_CLIENT_H

#include "handoff.h"
#include "smp_image.h"
#include "smp_server.h"

extern struct handoff handoff;
extern const struct smp_image_stage app_image_stage;
extern uint8_t request[SMP_PACKET_MAX], answer[SMP_PACKET_MAX];
extern uint32_t answered;
extern struct cbor_writer body;

// Begins a request's map of so many pairs.
struct cbor_writer *start_request(uint32_t pairs);

// Sends what was begun; version 1 or, as `ask` does, 2 (1 in the header).
void ask_version(uint32_t version, bool write, uint32_t group, uint32_t id);
void ask(bool write, uint32_t group, uint32_t id);

bool got(const char *key, struct cbor_item *item);

// The error of a version 2 answer; 0 if it holds none.
uint32_t error(void);

// A number of the answer; 0xFFFFFFFF if it is not there.
uint32_t number(const char *key);

#endif
