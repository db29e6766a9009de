// SPDX-License-Identifier: Apache-2.0
// Any bytes as a map: what is found lies within them, and what was found in a whole map was found in any.
#include <string.h>

#include "bytes.h"
#include "cbor.h"
#include "fuzz.h"

static const char *const keys[] = {"off", "data", "len", "", "nonce"};

void fuzz_cbor(const uint8_t *data, uint32_t size) {
    struct cbor_item item;
    bool whole = cbor_is_map(data, size);
    for (uint32_t i = 0; i < sizeof keys / sizeof keys[0]; i++) {
        if (!cbor_find(data, size, keys[i], &item)) continue;
        HOLDS(whole || size != 0);
        HOLDS((uint32_t)item.type <= CBOR_SIMPLE);
        if (item.type != CBOR_BYTES && item.type != CBOR_TEXT) continue;
        HOLDS(item.data >= data && item.data <= data + size && item.value <= (uint32_t)(data + size - item.data));
    }
    if (!whole) return;
    HOLDS(size != 0 && data[0] >> 5 == CBOR_MAP);
    uint8_t longer[FUZZ_INPUT_MAX + 1];
    memcpy(longer, data, size);
    longer[size] = 0xFF;
    HOLDS(cbor_is_map(longer, size + 1));  // what follows a map is not its matter
}

uint32_t seed_cbor(uint32_t number, uint8_t *data) {
    static const uint8_t indefinite[] = {0xBF, 0x63, 'o', 'f', 'f', 0x19, 1, 0, 0x61, 'x', 0x82, 1, 0xA1, 1, 2, 0xFF};
    struct cbor_writer writer;
    cbor_start(&writer, data, FUZZ_INPUT_MAX);
    switch (number) {
        case 0:
            cbor_head(&writer, CBOR_MAP, 3);
            cbor_put_number(&writer, "off", 70000);
            cbor_put_bytes(&writer, "data", "0123456789", 10);
            cbor_put_bool(&writer, "len", true);
            return writer.used;
        case 1: memcpy(data, indefinite, sizeof indefinite); return sizeof indefinite;
        case 2:
            cbor_head(&writer, CBOR_MAP, 1);
            cbor_string(&writer, "nonce");
            for (uint32_t i = 0; i < 7; i++) cbor_head(&writer, i % 2 ? CBOR_ARRAY : CBOR_TAG, 1);
            cbor_head(&writer, CBOR_NEGATIVE, 1000);
            return writer.used;
        default: return 0;
    }
}
