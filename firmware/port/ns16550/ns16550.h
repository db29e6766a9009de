// SPDX-License-Identifier: Apache-2.0
// The 16550 UART that both boards have, with an interrupt-driven receive buffer. A port gives the base address and the
// distance of its registers, and calls ns16550_interrupt from its interrupt handler.
#ifndef ASSAY_NS16550_H
#define ASSAY_NS16550_H

#include <stdbool.h>
#include <stdint.h>

struct ns16550 {
    uintptr_t base;
    uint32_t stride;   // bytes from one register to the next
    uint32_t divisor;  // of the input clock, for the board's baud rate
};

void ns16550_init(const struct ns16550 *uart, uint32_t interrupts);
void ns16550_interrupt(const struct ns16550 *uart);
uint32_t ns16550_read(uint8_t *data, uint32_t limit);
bool ns16550_waiting(void);  // something can be read
uint32_t ns16550_lost(void);
void ns16550_write(const struct ns16550 *uart, const uint8_t *data, uint32_t length);
void ns16550_flush(const struct ns16550 *uart);

// Without the buffer and interrupts: one byte, if there is one; -1 if not.
int ns16550_poll(const struct ns16550 *uart);

#endif
