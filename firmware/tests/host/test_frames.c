// SPDX-License-Identifier: Apache-2.0
// SMP framing: both kinds and people's lines on one line, cut up anyhow, damaged anyhow; afterwards a good frame gets
// through.
#include <stdio.h>
#include <string.h>

#include "check.h"
#include "host_port.h"
#include "port.h"
#include "smp_frame.h"

static struct smp_receiver rx;
static uint8_t packet[SMP_PACKET_MAX], wire[2 * SMP_PACKET_MAX];
static uint32_t packets, lines;
static enum smp_framing last_framing;
static bool last_equal;

static void make_packet(uint32_t length) {
    for (uint32_t i = 0; i < length; i++) packet[i] = (uint8_t)(i * 31 + length);
    packet[0] = 0x0A;
    packet[1] = 0;
    packet[2] = (uint8_t)((length - 8) >> 8);
    packet[3] = (uint8_t)(length - 8);
}

static uint32_t frame(enum smp_framing framing, uint32_t length) {
    host_sent_length = 0;
    smp_send(port_uart_write, framing, packet, length);
    memcpy(wire, host_sent, host_sent_length);
    return host_sent_length;
}

static void feed(const void *data, uint32_t length, uint32_t expected) {
    const uint8_t *bytes = data;
    for (uint32_t i = 0; i < length; i++) {
        enum smp_event event = smp_receive(&rx, bytes[i], host_now_ms);
        if (event == SMP_LINE) lines++;
        if (event != SMP_PACKET) continue;
        packets++;
        last_framing = rx.framing;
        last_equal = rx.packet_length == expected && memcmp(rx.packet, packet, expected) == 0;
    }
}

static void start(void) {
    host_power_on();
    smp_receiver_init(&rx);
    packets = lines = 0;
}

static void test_every_length_in_both_framings(void) {
    start();
    for (uint32_t length = 8; length <= SMP_PACKET_MAX; length += length < 300 ? 1 : 97) {
        for (int framing = SMP_CONSOLE; framing <= SMP_RAW; framing++) {
            check_context("%u bytes, framing %d", length, framing);
            make_packet(length);
            uint32_t before = packets;
            feed(wire, frame((enum smp_framing)framing, length), length);
            CHECK(packets == before + 1 && last_equal && last_framing == (enum smp_framing)framing);
        }
    }
    CHECK(rx.frames_bad == 0);
}

static void test_lines_are_at_most_127_long(void) {
    uint32_t run = 0;
    make_packet(1000);
    uint32_t length = frame(SMP_CONSOLE, 1000);
    for (uint32_t i = 0; i < length; i++) {
        run++;
        CHECK(run <= 127);
        if (wire[i] == '\n') run = 0;
    }
    CHECK(run == 0);
}

static void test_people(void) {
    start();
    feed("version\r\n", 9, 0);
    CHECK(lines == 1 && strcmp(rx.line, "version") == 0);
    feed("help\n", 5, 0);
    CHECK(lines == 2 && strcmp(rx.line, "help") == 0);
    feed("version\r", 8, 0);
    CHECK(lines == 3);
    host_now_ms += 100;
    make_packet(50);  // begins with 0x0A: after a pause it is no line feed any more
    feed(wire, frame(SMP_RAW, 50), 50);
    CHECK(packets == 1 && last_equal);
    for (int i = 0; i < 300; i++) feed("x", 1, 0);
    feed("\n", 1, 0);
    CHECK(lines == 4 && strlen(rx.line) == SMP_LINE_MAX);
}

static void test_frame_behind_half_a_line(void) {
    start();
    make_packet(60);
    feed("vers", 4, 0);
    feed(wire, frame(SMP_CONSOLE, 60), 60);
    CHECK(packets == 1 && last_equal);
    feed("vers", 4, 0);
    host_now_ms += SMP_SILENCE_MS + 1;
    feed(wire, frame(SMP_RAW, 60), 60);
    CHECK(packets == 2 && last_equal);
}

// A byte of noise that could begin a raw header costs nothing: the frame behind it is read at once.
static void test_frame_behind_a_stray_byte(void) {
    static const uint8_t strays[] = {0x00, 0x03, 0x08, 0x0A, 0x0B, '\r', 0xFF, 0x1B};
    start();
    make_packet(60);
    for (uint32_t i = 0; i < sizeof strays; i++) {
        check_context("0x%02x", strays[i]);
        feed(&strays[i], 1, 0);
        feed(wire, frame(SMP_CONSOLE, 60), 60);
        CHECK(packets == i + 1 && last_equal);
    }
}

static void test_silence_ends_a_frame(void) {
    start();
    make_packet(60);
    for (int framing = SMP_CONSOLE; framing <= SMP_RAW; framing++) {
        uint32_t length = frame((enum smp_framing)framing, 60);
        feed(wire, length / 2, 60);
        host_now_ms += SMP_SILENCE_MS + 1;
        uint32_t before = packets;
        feed(wire, length, 60);
        CHECK(packets == before + 1 && last_equal);
    }
    CHECK(rx.frames_bad == 2);
}

// Each damaged byte: the frame is dropped or, where only padding bits are hit, still the same; and the next is read.
static void test_damage(void) {
    start();
    make_packet(120);
    uint8_t good[512];
    uint32_t length = frame(SMP_CONSOLE, 120);
    memcpy(good, wire, length);
    for (uint32_t at = 0; at < length; at++) {
        for (uint32_t value = 0; value < 256; value += 5) {
            uint32_t before = packets;
            check_context("byte %u becomes %u", at, value);
            memcpy(wire, good, length);
            bool same = wire[at] == value;
            wire[at] = (uint8_t)value;
            feed(wire, length, 120);
            CHECK(packets == before || last_equal);
            CHECK(!same || packets == before + 1);
            host_now_ms += SMP_SILENCE_MS + 1;
            feed("\n", 1, 0);
            host_now_ms += SMP_SILENCE_MS + 1;
            before = packets;
            feed(good, length, 120);
            CHECK(packets == before + 1 && last_equal);
        }
    }
}

static void test_noise(void) {
    start();
    host_seed(5);
    make_packet(200);
    for (uint32_t run = 0; run < 3000; run++) {
        check_context("run %u", run);
        for (uint32_t i = 0; i < 400; i++) {
            uint8_t byte = (uint8_t)host_random();
            feed(&byte, 1, 0);
        }
        host_now_ms += SMP_SILENCE_MS + 1;
        enum smp_framing framing = run % 2 ? SMP_RAW : SMP_CONSOLE;
        uint32_t before = packets;
        uint32_t length = frame(framing, 200);
        feed(wire, length, 200);
        if (packets == before) {  // noise may end in the half of a line: a client that sends again gets through
            host_now_ms += SMP_SILENCE_MS + 1;
            feed(wire, length, 200);
        }
        CHECK(packets > before && last_equal);
    }
}

// Behind a raw frame whose length was damaged, bytes of an image are no frames, however much they look like some; a
// console frame marks its beginning itself.
static void test_what_follows_a_raw_frame_that_cannot_be(void) {
    static const uint8_t raw[8] = {0x0A, 0, 0xFF, 0xFF, 0, 0, 0, 0};
    static const uint8_t zeros[64];
    start();
    feed(raw, sizeof raw, 0);
    feed(zeros, sizeof zeros, 0);
    CHECK(packets == 0 && lines == 0 && rx.frames_bad == 1);
    make_packet(100);
    feed(wire, frame(SMP_CONSOLE, 100), 100);
    CHECK(packets == 1 && last_equal && rx.frames_bad == 1);
}

static void test_a_raw_frame_stops_sooner_than_a_console_frame(void) {
    start();
    make_packet(60);
    for (int framing = SMP_CONSOLE; framing <= SMP_RAW; framing++) {
        uint32_t length = frame((enum smp_framing)framing, 60);
        feed(wire, length / 2, 60);
        host_now_ms += SMP_RAW_SILENCE_MS + 1;
        uint32_t before = packets;
        feed(wire + length / 2, length - length / 2, 60);
        CHECK(packets == before + (framing == SMP_CONSOLE));
        host_now_ms += SMP_SILENCE_MS + 1;
    }
}

static void test_overlong_frames(void) {
    static const uint8_t raw[8] = {0x0A, 0, 0xFF, 0xFF, 0, 0, 0, 0};
    start();
    feed(raw, sizeof raw, 0);
    make_packet(100);
    host_now_ms += SMP_RAW_SILENCE_MS + 1;
    feed(wire, frame(SMP_RAW, 100), 100);
    CHECK(packets == 1 && last_equal && rx.frames_bad == 1);
    feed("\x06\x09", 2, 0);
    for (uint32_t i = 0; i < 4000; i++) feed("A", 1, 0);
    feed("\n", 1, 0);
    feed(wire, frame(SMP_CONSOLE, 100), 100);
    CHECK(packets == 2 && last_equal && rx.frames_bad == 2);
}

const struct test tests_frames[] = {
    {"every_length_in_both_framings", test_every_length_in_both_framings},
    {"lines_are_at_most_127_long", test_lines_are_at_most_127_long},
    {"people", test_people},
    {"frame_behind_half_a_line", test_frame_behind_half_a_line},
    {"frame_behind_a_stray_byte", test_frame_behind_a_stray_byte},
    {"silence_ends_a_frame", test_silence_ends_a_frame},
    {"damage", test_damage},
    {"noise", test_noise},
    {"what_follows_a_raw_frame_that_cannot_be", test_what_follows_a_raw_frame_that_cannot_be},
    {"a_raw_frame_stops_sooner_than_a_console_frame", test_a_raw_frame_stops_sooner_than_a_console_frame},
    {"overlong_frames", test_overlong_frames},
    {0, 0},
};
