// SPDX-License-Identifier: Apache-2.0
// Answers SMP requests. Which commands there are is a table of the stage, so that the bootloader holds no code that
// only the app may run.
#ifndef ASSAY_SMP_SERVER_H
#define ASSAY_SMP_SERVER_H

#include "cbor.h"
#include "result.h"
#include "smp_frame.h"

enum { GROUP_OS = 0, GROUP_IMAGE = 1, GROUP_ASSAY = 0x4153 };

struct smp_request {
    bool write;
    const uint8_t *body;  // a CBOR map, checked
    uint32_t length;
};

// Writes its answer map, or returns a failure; the server then writes the error instead.
typedef result_t (*smp_handler)(const struct smp_request *request, struct cbor_writer *answer);

struct smp_command {
    uint16_t group;
    uint8_t id;
    smp_handler read, write;  // null: not supported
};

// The commands of this stage; ends with a row without handlers.
extern const struct smp_command smp_commands[];

// Answers one packet. Returns the bytes of the answer; 0 if the packet deserves none.
uint32_t smp_answer(const uint8_t *packet, uint32_t length, uint8_t *answer, uint32_t size);

// Set by a handler: reset the board once the answer has left.
void smp_request_reset(void);
bool smp_reset_requested(void);

// Values of a request, with what to answer if they are missing or of another type.
result_t smp_get_bytes(const struct smp_request *request, const char *key, uint32_t lowest, uint32_t highest,
                       struct cbor_item *item);
result_t smp_get_text(const struct smp_request *request, const char *key, uint32_t lowest, uint32_t highest,
                      struct cbor_item *item);
result_t smp_get_number(const struct smp_request *request, const char *key, uint32_t *value);
bool smp_get_bool(const struct smp_request *request, const char *key);
bool smp_has(const struct smp_request *request, const char *key);

// OS group, in both stages.
result_t smp_echo(const struct smp_request *request, struct cbor_writer *answer);
result_t smp_reset(const struct smp_request *request, struct cbor_writer *answer);
result_t smp_parameters(const struct smp_request *request, struct cbor_writer *answer);

#endif
