// SPDX-License-Identifier: Apache-2.0
// 16550 UART: interrupt-driven receiving, polled sending. The buffer holds all that a client may send ahead of our
// answers (SMP_BUFFERS packets in console framing), so that writing to flash loses no byte.
#include "ns16550.h"

#include "smp_frame.h"

enum { DATA = 0, INTERRUPT_ENABLE = 1, FIFO_CONTROL = 2, LINE_CONTROL = 3, MODEM_CONTROL = 4, LINE_STATUS = 5 };
enum { STATUS_DATA = 0x01, STATUS_HOLDING_EMPTY = 0x20, STATUS_ALL_SENT = 0x40 };
#define FIFO_ON_TRIGGER_14 0xC1u  // trigger level 1 would cost an interrupt for each byte
#define LINE_8N1 0x03u
#define LINE_DIVISOR 0x80u
#define MODEM_OUT2 0x0Bu  // DTR, RTS, and the gate of the interrupt line
#define FIFO_BYTES 16u
#define RING_BYTES 32768u
_Static_assert((RING_BYTES & (RING_BYTES - 1)) == 0, "the ring wraps by a mask");
_Static_assert(RING_BYTES >= SMP_BUFFERS * SMP_PACKET_MAX * 127 / 93, "the ring holds what may be sent ahead");

static uint8_t ring[RING_BYTES];
static volatile uint32_t head, tail, lost;  // head is written by the interrupt only, tail by the reader only

static volatile uint8_t *reg(const struct ns16550 *uart, uint32_t number) {
    return (volatile uint8_t *)(uart->base + number * uart->stride);
}

void ns16550_init(const struct ns16550 *uart, uint32_t interrupts) {
    *reg(uart, INTERRUPT_ENABLE) = 0;
    *reg(uart, LINE_CONTROL) = LINE_8N1 | LINE_DIVISOR;
    *reg(uart, DATA) = (uint8_t)uart->divisor;
    *reg(uart, INTERRUPT_ENABLE) = (uint8_t)(uart->divisor >> 8);
    *reg(uart, LINE_CONTROL) = LINE_8N1;
    *reg(uart, FIFO_CONTROL) = FIFO_ON_TRIGGER_14;
    *reg(uart, MODEM_CONTROL) = MODEM_OUT2;
    *reg(uart, INTERRUPT_ENABLE) = (uint8_t)interrupts;
}

int ns16550_poll(const struct ns16550 *uart) {
    return (*reg(uart, LINE_STATUS) & STATUS_DATA) ? *reg(uart, DATA) : -1;
}

void ns16550_interrupt(const struct ns16550 *uart) {
    for (uint32_t i = 0; i < RING_BYTES; i++) {
        int byte = ns16550_poll(uart);
        if (byte < 0) return;
        if (head - tail == RING_BYTES) {
            lost++;
            continue;
        }
        ring[head & (RING_BYTES - 1)] = (uint8_t)byte;
        head++;
    }
}

uint32_t ns16550_read(uint8_t *data, uint32_t limit) {
    uint32_t count = 0;
    while (count < limit && tail != head) {
        data[count++] = ring[tail & (RING_BYTES - 1)];
        tail++;
    }
    return count;
}

bool ns16550_waiting(void) { return head != tail; }

uint32_t ns16550_lost(void) { return lost; }

void ns16550_write(const struct ns16550 *uart, const uint8_t *data, uint32_t length) {
    for (uint32_t i = 0; i < length; i++) {
        if (i % FIFO_BYTES == 0) {
            while (!(*reg(uart, LINE_STATUS) & STATUS_HOLDING_EMPTY)) {
            }
        }
        *reg(uart, DATA) = data[i];
    }
}

void ns16550_flush(const struct ns16550 *uart) {
    while (!(*reg(uart, LINE_STATUS) & STATUS_ALL_SENT)) {
    }
}
