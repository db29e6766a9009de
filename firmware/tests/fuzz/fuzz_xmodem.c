// SPDX-License-Identifier: Apache-2.0
// Any bytes to the ROM's receiver: it never writes beyond its memory, ends, and can be started anew.
#include <string.h>

#include "crc.h"
#include "bytes.h"
#include "fuzz.h"
#include "xmodem.h"

#define SOH 0x01u
#define STX 0x02u
#define EOT 0x04u
#define MEMORY 3000u  // bytes: not a multiple of a block

static uint8_t memory[MEMORY + 16];

static void start(struct xmodem *xmodem) {
    memset(memory, 0x5A, sizeof memory);
    memset(xmodem, 0, sizeof *xmodem);
    xmodem_init(xmodem, memory, MEMORY);
}

static enum xmodem_event take(struct xmodem *xmodem, uint8_t byte, uint32_t *now_ms, uint32_t silent) {
    uint8_t reply = 0;
    enum xmodem_event event = XMODEM_NOTHING;
    if (silent) {
        *now_ms += XMODEM_SILENCE_MS + 1;
        event = xmodem_tick(xmodem, *now_ms, &reply);
        if (event == XMODEM_FAILED) return event;
    }
    event = xmodem_receive(xmodem, byte, *now_ms, &reply);
    HOLDS(xmodem->received <= MEMORY);
    HOLDS(bytes_are(memory + MEMORY, 0x5A, sizeof memory - MEMORY));
    return event;
}

static uint32_t put_block(uint8_t *at, uint8_t number, uint32_t size) {
    at[0] = size == 128 ? SOH : STX;
    at[1] = number;
    at[2] = (uint8_t)~number;
    for (uint32_t i = 0; i < size; i++) at[3 + i] = (uint8_t)(i + number);
    put_be16(at + 3 + size, crc16(0, at + 3, size));
    return size + 5;
}

static uint32_t put_transfer(uint8_t *at) {
    uint32_t used = put_block(at, 1, 1024);
    used += put_block(at + used, 2, 128);
    at[used++] = EOT;
    return used;
}

void fuzz_xmodem(const uint8_t *data, uint32_t size) {
    static struct xmodem xmodem;
    static uint8_t transfer[2048];
    struct feed feed = {data, data + size};
    uint32_t pause_after = feed_number(&feed, 1), now_ms = 0;
    start(&xmodem);
    for (uint32_t i = 0; feed_left(&feed) != 0; i++) {
        bool silent = pause_after != 0 && i % pause_after == 0;
        enum xmodem_event event = take(&xmodem, (uint8_t)feed_number(&feed, 1), &now_ms, silent);
        if (event == XMODEM_DONE || event == XMODEM_FAILED) break;
    }
    start(&xmodem);
    enum xmodem_event last = XMODEM_NOTHING;
    uint32_t length = put_transfer(transfer);
    for (uint32_t i = 0; i < length; i++) last = take(&xmodem, transfer[i], &now_ms, 0);
    HOLDS(last == XMODEM_DONE && xmodem.received == 1024 + 128);
}

uint32_t seed_xmodem(uint32_t number, uint8_t *data) {
    uint32_t used = 1;
    data[0] = 0;
    switch (number) {
        case 0: return 1 + put_transfer(data + 1);
        case 1:
            for (uint8_t i = 1; i <= 3; i++) used += put_block(data + used, i, 1024);
            return used;
        case 2:
            used += put_block(data + used, 1, 128);
            used += put_block(data + used, 1, 128);
            used += put_block(data + used, 3, 128);
            return used;
        case 3: data[0] = 40; data[1] = 0x18; data[2] = 0x18; return 3;
        default: return 0;
    }
}
