// SPDX-License-Identifier: Apache-2.0
// Receive, answer, sleep; see serve.h.
#include "serve.h"

#include "port.h"
#include "smp_assay.h"

#define READ_BYTES 256u  // taken from the UART's buffer at once

static struct smp_receiver receiver;
static uint8_t answer[SMP_PACKET_MAX];

static bool take(uint8_t byte, serve_line line) {
    enum smp_event event = smp_receive(&receiver, byte, port_millis());
    assay_stage.frames_bad = receiver.frames_bad;
    if (event == SMP_LINE && line) line(receiver.line);
    if (event != SMP_PACKET) return false;
    uint32_t length = smp_answer(receiver.packet, receiver.packet_length, answer, sizeof answer);
    if (length != 0) smp_send(port_uart_write, receiver.framing, answer, length);
    return true;
}

void serve(serve_line line, serve_idle idle) {
    uint8_t bytes[READ_BYTES];
    bool heard = false;
    smp_receiver_init(&receiver);
    while (!smp_reset_requested()) {
        port_watchdog_feed();
        uint32_t count = port_uart_read(bytes, sizeof bytes);
        for (uint32_t i = 0; i < count && !smp_reset_requested(); i++) heard |= take(bytes[i], line);
        if (count != 0) continue;
        if (idle) idle(heard);
        port_idle();
    }
    port_uart_flush();
}
