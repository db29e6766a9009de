// SPDX-License-Identifier: Apache-2.0
// Reads and writes the hand-off; see handoff.h.
#include "handoff.h"

#include "bytes.h"
#include "crc.h"
#include "port.h"

#define CRC_BYTES (sizeof(struct handoff) - 4u)

static result_t read_any(struct handoff *handoff) {
    memcpy(handoff, port_memory(RAM_HANDOFF_BASE), sizeof *handoff);
    if (handoff->magic != HANDOFF_MAGIC || handoff->layout != HANDOFF_LAYOUT) return RESULT_EMPTY;
    if (handoff->crc != crc32(handoff, CRC_BYTES)) return RESULT_EMPTY;
    handoff->boot_name[IMAGE_NAME_MAX] = '\0';
    handoff->app_name[IMAGE_NAME_MAX] = '\0';
    return RESULT_OK;
}

result_t handoff_read(struct handoff *handoff, enum handoff_filler filler) {
    result_t result = read_any(handoff);
    return result_ok(result) && handoff->filled_by == filler ? RESULT_OK : RESULT_EMPTY;
}

void handoff_write(struct handoff *handoff, enum handoff_filler filler) {
    handoff->magic = HANDOFF_MAGIC;
    handoff->layout = HANDOFF_LAYOUT;
    handoff->filled_by = (uint8_t)filler;
    handoff->crc = crc32(handoff, CRC_BYTES);
    memcpy(port_memory(RAM_HANDOFF_BASE), handoff, sizeof *handoff);
}

uint32_t handoff_boots(void) {
    struct handoff handoff;
    return result_ok(read_any(&handoff)) ? handoff.boots : 0;
}
