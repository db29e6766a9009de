// SPDX-License-Identifier: Apache-2.0
// Receiver of XMODEM with CRC, blocks of 128 and 1024 bytes mixed. No UART here: bytes in, a byte to answer out.
#ifndef ASSAY_XMODEM_H
#define ASSAY_XMODEM_H

#include <stdbool.h>
#include <stdint.h>

#define XMODEM_BLOCK_MAX 1024u
#define XMODEM_SILENCE_MS 1000u  // a block that stops for so long is asked for again
#define XMODEM_SILENCES_MAX 5u   // in a row; then the sender is gone, and the next one shall not have to wait long
#define XMODEM_ERRORS_MAX 32u    // damaged blocks in a row; then the transfer is given up

enum xmodem_event { XMODEM_NOTHING, XMODEM_STARTED, XMODEM_DONE, XMODEM_FAILED };

struct xmodem {
    uint8_t *memory;
    uint32_t size, received;  // bytes
    uint32_t state, used, expected, errors, silences, cancels, last_ms;
    uint8_t next_block;
    bool started;
    uint8_t block[3 + XMODEM_BLOCK_MAX + 2];
};

void xmodem_init(struct xmodem *xmodem, uint8_t *memory, uint32_t size);

// True as long as no transfer has begun.
bool xmodem_waits(const struct xmodem *xmodem);

// Takes a byte. `reply` is what to send back, 0 for nothing.
enum xmodem_event xmodem_receive(struct xmodem *xmodem, uint8_t byte, uint32_t now_ms, uint8_t *reply);

// To be called while nothing comes: asks for a block again that stopped in the middle.
enum xmodem_event xmodem_tick(struct xmodem *xmodem, uint32_t now_ms, uint8_t *reply);

#endif
