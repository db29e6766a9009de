// SPDX-License-Identifier: Apache-2.0
// XMODEM-1K with CRC, receiving side; see xmodem.h. What the bytes are is checked by rom_loader.c.
#include "xmodem.h"

#include "bytes.h"
#include "crc.h"

enum { SOH = 0x01, STX = 0x02, EOT = 0x04, ACK = 0x06, NAK = 0x15, CAN = 0x18 };
enum { WAIT_BLOCK, IN_BLOCK };
#define HEAD 3u  // start, number, its complement
#define CRC_BYTES 2u
#define CANCEL_AFTER 2u  // CAN in a row; one may be noise

void xmodem_init(struct xmodem *x, uint8_t *memory, uint32_t size) {
    memset(x, 0, sizeof *x);
    x->memory = memory;
    x->size = size;
    x->next_block = 1;
}

bool xmodem_waits(const struct xmodem *x) { return !x->started && x->state == WAIT_BLOCK; }

static enum xmodem_event fail(struct xmodem *x, uint8_t *reply) {
    x->state = WAIT_BLOCK;
    *reply = CAN;
    return XMODEM_FAILED;
}

static enum xmodem_event again(struct xmodem *x, uint8_t *reply) {
    x->state = WAIT_BLOCK;
    if (++x->errors > XMODEM_ERRORS_MAX) return fail(x, reply);
    *reply = NAK;
    return XMODEM_NOTHING;
}

static enum xmodem_event end_block(struct xmodem *x, uint8_t *reply) {
    uint32_t length = x->expected - HEAD - CRC_BYTES;
    bool numbered = (x->block[1] ^ x->block[2]) == 0xFF;
    if (!numbered || crc16(0, x->block + HEAD, length + CRC_BYTES) != 0) return again(x, reply);
    x->state = WAIT_BLOCK;
    if (x->block[1] == (uint8_t)(x->next_block - 1) && x->started) {  // our ACK was lost
        *reply = ACK;
        return XMODEM_NOTHING;
    }
    if (x->block[1] != x->next_block || length > x->size - x->received) return fail(x, reply);
    memcpy(x->memory + x->received, x->block + HEAD, length);
    x->received += length;
    x->next_block++;
    x->errors = 0;
    *reply = ACK;
    bool first = !x->started;
    x->started = true;
    return first ? XMODEM_STARTED : XMODEM_NOTHING;
}

static enum xmodem_event begin(struct xmodem *x, uint8_t byte, uint8_t *reply) {
    x->used = 0;
    x->cancels = byte == CAN ? x->cancels + 1 : 0;
    switch (byte) {
        case SOH:
        case STX:
            x->state = IN_BLOCK;
            x->expected = HEAD + (byte == STX ? XMODEM_BLOCK_MAX : 128u) + CRC_BYTES;
            x->block[x->used++] = byte;
            return XMODEM_NOTHING;
        case EOT:
            if (!x->started) return XMODEM_NOTHING;
            *reply = ACK;
            return XMODEM_DONE;
        case CAN: return x->started && x->cancels >= CANCEL_AFTER ? fail(x, reply) : XMODEM_NOTHING;
        default: return XMODEM_NOTHING;
    }
}

enum xmodem_event xmodem_receive(struct xmodem *x, uint8_t byte, uint32_t now_ms, uint8_t *reply) {
    *reply = 0;
    x->last_ms = now_ms;
    x->silences = 0;
    if (x->state == WAIT_BLOCK) return begin(x, byte, reply);
    x->block[x->used++] = byte;
    return x->used == x->expected ? end_block(x, reply) : XMODEM_NOTHING;
}

enum xmodem_event xmodem_tick(struct xmodem *x, uint32_t now_ms, uint8_t *reply) {
    *reply = 0;
    bool silent = now_ms - x->last_ms > XMODEM_SILENCE_MS;
    if (!silent || (!x->started && x->state == WAIT_BLOCK)) return XMODEM_NOTHING;
    x->last_ms = now_ms;
    return ++x->silences > XMODEM_SILENCES_MAX ? fail(x, reply) : again(x, reply);
}
