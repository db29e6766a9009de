// SPDX-License-Identifier: Apache-2.0
// XMODEM: a sender written from the protocol, with blocks that are damaged, lost, cut and repeated.
#include <string.h>

#include "check.h"
#include "crc.h"
#include "host_port.h"
#include "xmodem.h"

enum { SOH = 1, STX = 2, EOT = 4, ACK = 6, NAK = 0x15, CAN = 0x18 };
#define SIZE 10000u

static struct xmodem rx;
static uint8_t memory[SIZE], data[SIZE + 2048];
static uint8_t block[3 + 1024 + 2];

static uint32_t make_block(uint8_t number, const uint8_t *from, uint32_t length) {
    block[0] = length == 1024 ? STX : SOH;
    block[1] = number;
    block[2] = (uint8_t)~number;
    memcpy(block + 3, from, length);
    uint16_t crc = crc16(0, from, length);
    block[3 + length] = (uint8_t)(crc >> 8);
    block[4 + length] = (uint8_t)crc;
    return length + 5;
}

static enum xmodem_event send(const uint8_t *bytes, uint32_t length, uint8_t *reply) {
    enum xmodem_event event = XMODEM_NOTHING;
    *reply = 0;
    for (uint32_t i = 0; i < length && *reply == 0 && event != XMODEM_DONE; i++)
        event = xmodem_receive(&rx, bytes[i], host_now_ms, reply);
    return event;
}

static void start(void) {
    host_power_on();
    host_seed(9);
    for (uint32_t i = 0; i < sizeof data; i++) data[i] = (uint8_t)host_random();
    memset(memory, 0, sizeof memory);
    xmodem_init(&rx, memory, sizeof memory);
}

static void test_both_block_sizes(void) {
    uint8_t reply;
    for (uint32_t step = 128; step <= 1024; step += 896) {
        start();
        CHECK(xmodem_waits(&rx));
        uint32_t sent = 0;
        for (uint8_t number = 1; sent + step <= SIZE; number++, sent += step) {
            enum xmodem_event event = send(block, make_block(number, data + sent, step), &reply);
            CHECK(reply == ACK && event == (number == 1 ? XMODEM_STARTED : XMODEM_NOTHING));
        }
        CHECK(!xmodem_waits(&rx));
        block[0] = EOT;
        CHECK(send(block, 1, &reply) == XMODEM_DONE && reply == ACK);
        CHECK(rx.received == sent && memcmp(memory, data, sent) == 0);
    }
}

static void test_damage_and_repetition(void) {
    uint8_t reply;
    start();
    for (uint32_t at = 0; at < 1029; at += 41) {
        check_context("byte %u", at);
        xmodem_init(&rx, memory, sizeof memory);
        uint32_t length = make_block(1, data, 1024);
        block[at] ^= 0x40;
        if (at == 0) continue;  // no start byte: nothing begins
        (void)send(block, length, &reply);
        CHECK(reply == NAK && rx.received == 0);
        (void)send(block, make_block(1, data, 1024), &reply);
        CHECK(reply == ACK && rx.received == 1024);
        (void)send(block, make_block(1, data, 1024), &reply);  // our ACK was lost
        CHECK(reply == ACK && rx.received == 1024);
        (void)send(block, make_block(2, data + 1024, 1024), &reply);
        CHECK(reply == ACK && rx.received == 2048 && memcmp(memory, data, 2048) == 0);
    }
}

static void test_silence(void) {
    uint8_t reply;
    start();
    (void)send(block, make_block(1, data, 1024) - 500, &reply);
    CHECK(reply == 0);
    host_now_ms += 500;
    CHECK(xmodem_tick(&rx, host_now_ms, &reply) == XMODEM_NOTHING && reply == 0);
    host_now_ms += 600;
    CHECK(xmodem_tick(&rx, host_now_ms, &reply) == XMODEM_NOTHING && reply == NAK);
    (void)send(block, make_block(1, data, 1024), &reply);
    CHECK(reply == ACK && rx.received == 1024);
    enum xmodem_event event = XMODEM_NOTHING;
    uint32_t seconds = 0;
    for (; seconds < 20 && event == XMODEM_NOTHING; seconds++) {
        host_now_ms += XMODEM_SILENCE_MS + 1;
        event = xmodem_tick(&rx, host_now_ms, &reply);
    }
    CHECK(event == XMODEM_FAILED && reply == CAN && seconds == XMODEM_SILENCES_MAX + 1);  // the sender is gone
    start();
    for (uint32_t i = 0; i <= XMODEM_ERRORS_MAX; i++) {
        uint32_t length = make_block(1, data, 128);
        block[10] ^= 1;
        event = send(block, length, &reply);
    }
    CHECK(event == XMODEM_FAILED);  // a line that damages every block
}

static void test_refusals(void) {
    uint8_t reply;
    start();
    (void)send(block, make_block(1, data, 1024), &reply);
    CHECK(send(block, make_block(3, data, 1024), &reply) == XMODEM_FAILED && reply == CAN);  // out of step
    start();
    uint32_t sent = 0;
    for (uint8_t number = 1; sent + 1024 <= SIZE; number++, sent += 1024)
        (void)send(block, make_block(number, data + sent, 1024), &reply);
    CHECK(reply == ACK);
    CHECK(send(block, make_block((uint8_t)(sent / 1024 + 1), data, 1024), &reply) == XMODEM_FAILED && reply == CAN);
    start();
    (void)send(block, make_block(1, data, 128), &reply);
    uint8_t cancel[2] = {CAN, CAN};
    CHECK(send(cancel, 1, &reply) == XMODEM_NOTHING);  // one may be noise
    CHECK(send(cancel, 2, &reply) == XMODEM_FAILED);
}

const struct test tests_xmodem[] = {
    {"both_block_sizes", test_both_block_sizes}, {"damage_and_repetition", test_damage_and_repetition},
    {"silence", test_silence}, {"refusals", test_refusals}, {0, 0}};
