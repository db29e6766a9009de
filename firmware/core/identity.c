// SPDX-License-Identifier: Apache-2.0
// Stores the identity; see identity.h. Who may change it is decided in smp_identity.c. The key lies in plain flash:
// on a chip with a secure element it would lie there, and only this file would change.
#include "identity.h"

#include "bytes.h"
#include "crc.h"
#include "turn.h"

#define BODY_AT 64u  // behind the head
static const struct turn store = {AREA_IDENTITY, 0x4E444941u};  // "AIDN"
_Static_assert(BODY_AT + FLASH_UNITS(sizeof(struct identity)) <= AREA_IDENTITY_SIZE / 2, "a copy fits a half");
_Static_assert(BODY_AT % FLASH_WRITE_SIZE == 0, "the copy begins with a write unit");

static result_t load_copy(uint32_t half, struct identity *identity, uint32_t *generation) {
    struct turn_head head;
    result_t result = turn_read(&store, half, &head);
    if (!result_ok(result)) return result;
    if (head.words[0] != sizeof *identity) return RESULT_EMPTY;
    result = flash_read(store.area, turn_offset(&store, half) + BODY_AT, identity, sizeof *identity);
    if (!result_ok(result)) return result;
    if (crc32(identity, sizeof *identity) != head.words[1]) return RESULT_EMPTY;
    if (identity->serial_length > SERIAL_MAX || identity->certificate_length > CERTIFICATE_MAX) return RESULT_EMPTY;
    *generation = head.generation;
    return RESULT_OK;
}

result_t identity_load(struct identity *identity) {
    uint32_t generations[2] = {0, 0};
    for (uint32_t half = 0; half < 2; half++) {
        result_t result = load_copy(half, identity, &generations[half]);
        if (result == RESULT_OF(ERROR_FLASH)) return result;
    }
    if (generations[0] == 0 && generations[1] == 0) return RESULT_EMPTY;
    return load_copy(generations[1] > generations[0], identity, &generations[0]);
}

static result_t store_copy(const struct identity *identity) {
    uint32_t half, generation;
    const uint32_t words[TURN_WORDS] = {sizeof *identity, crc32(identity, sizeof *identity)};
    result_t result = turn_prepare(&store, &half, &generation);
    if (!result_ok(result)) return result;
    result = flash_program(store.area, turn_offset(&store, half) + BODY_AT, identity, sizeof *identity);
    return result_ok(result) ? turn_seal(&store, half, generation, words) : result;
}

result_t identity_store(const struct identity *identity) {
    result_t result = store_copy(identity);
    return result_ok(result) ? store_copy(identity) : result;
}

result_t chip_id(uint8_t id[CHIP_ID_SIZE]) {
    static const char mark[8] = {'A', 'S', 'S', 'Y', 'O', 'T', 'P', '1'};
    uint8_t raw[sizeof mark + CHIP_ID_SIZE];
    memset(id, 0, CHIP_ID_SIZE);
    result_t result = flash_read(AREA_OTP, 0, raw, sizeof raw);
    if (!result_ok(result)) return result;
    if (memcmp(raw, mark, sizeof mark) != 0) return RESULT_EMPTY;
    memcpy(id, raw + sizeof mark, CHIP_ID_SIZE);
    return RESULT_OK;
}
