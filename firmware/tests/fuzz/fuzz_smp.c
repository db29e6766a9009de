// SPDX-License-Identifier: Apache-2.0
// Any bytes on the UART, and any SMP packets in a row: the receiver is ready for the next frame, each answer is a map,
// the device key stays inside, and the confirmed image runs after it all.
#include <stdlib.h>
#include <string.h>

#include "boot.h"
#include "bytes.h"
#include "fuzz.h"
#include "host_port.h"
#include "identity.h"
#include "image_maker.h"
#include "port.h"
#include "smp_client.h"
#include "smp_frame.h"
#include "smp_server.h"

#define ENDLESS_LINE (SMP_PACKET_MAX * 3u / 2u)  // base64 characters: one eighth more than the receiver has room for
_Static_assert(ENDLESS_LINE < FUZZ_INPUT_MAX, "an input holds more than a receiver");
#define MEMBERS(array) (sizeof(array) / sizeof((array)[0]))

static const uint8_t echo[] = {0x0A, 0, 0, 7, 0, 0, 1, 0, 0xA1, 0x61, 'd', 0x63, 'a', 'b', 'c'};

static bool hear(struct smp_receiver *rx, const uint8_t *data, uint32_t size, uint32_t pause_after) {
    bool heard = false;
    for (uint32_t i = 0; i < size; i++) {
        if (pause_after != 0 && i % pause_after == pause_after - 1) host_now_ms += SMP_SILENCE_MS + 1;
        enum smp_event event = smp_receive(rx, data[i], host_now_ms);
        HOLDS(event != SMP_LINE || text_length(rx->line, SMP_LINE_MAX + 1) <= SMP_LINE_MAX);
        if (event != SMP_PACKET) continue;
        HOLDS(rx->packet_length >= SMP_HEADER_SIZE && rx->packet_length <= SMP_PACKET_MAX);
        HOLDS(rx->packet >= rx->data && rx->packet + rx->packet_length <= rx->data + sizeof rx->data);
        heard = rx->packet_length == sizeof echo && memcmp(rx->packet, echo, sizeof echo) == 0;
    }
    return heard;
}

void fuzz_frames(const uint8_t *data, uint32_t size) {
    static struct smp_receiver rx;
    struct feed feed = {data, data + size};
    uint32_t pause_after = feed_number(&feed, 1);
    host_power_on();
    smp_receiver_init(&rx);
    (void)hear(&rx, feed.at, feed_left(&feed), pause_after);
    for (int framing = SMP_CONSOLE; framing <= SMP_RAW; framing++) {
        host_now_ms += SMP_SILENCE_MS + 1;
        host_sent_length = 0;
        smp_send(port_uart_write, (enum smp_framing)framing, echo, sizeof echo);
        HOLDS(hear(&rx, host_sent, host_sent_length, 0));
    }
}

uint32_t seed_frames(uint32_t number, uint8_t *data) {
    host_power_on();
    data[0] = (uint8_t)(number == 4 ? 20 : 0);
    for (uint32_t i = 0; i < 1 + number % 3; i++) {
        smp_send(port_uart_write, number % 2 ? SMP_RAW : SMP_CONSOLE, echo, sizeof echo);
    }
    if (number == 3) {
        memset(request, 0x0A, sizeof request);
        put_be16(request + 2, 300 - SMP_HEADER_SIZE);
        smp_send(port_uart_write, SMP_CONSOLE, request, 300);
    }
    if (number == 5) memset(host_sent + 2, 'A', host_sent_length = ENDLESS_LINE);
    memcpy(data + 1, host_sent, host_sent_length);
    return number < 6 ? 1 + host_sent_length : 0;
}

// In the first byte of an input.
#define WITH_IDENTITY 1u
#define SMALL_ANSWERS 2u
#define ANSWER_MIN 100u  // bytes: any error fits

// Image 1.0.0 confirmed in the primary slot, a key and a certificate.
static struct identity identity;
static uint8_t good[2048];
static uint32_t good_size;

static void provision(bool with_identity) {
    host_blank();
    host_seed(1);
    host_power_on();
    if (good_size == 0) good_size = make_good(1, 600, 1, good);
    memcpy(host_flash + AREA_PRIMARY_OFFSET, good, good_size);
    memcpy(host_flash + AREA_OTP_OFFSET, "ASSYOTP1chip-chip-chip-c", 24);
    memset(&identity, 0, sizeof identity);
    memset(identity.seed, 0xB7, sizeof identity.seed);
    identity.serial_length = identity.certificate_length = 6;
    if (with_identity) (void)identity_store(&identity);
    smp_image_init(&app_image_stage);
}

static bool holds_seed(const uint8_t *bytes, uint32_t length) {
    for (uint32_t i = 0; i + sizeof identity.seed <= length; i++) {
        if (memcmp(bytes + i, identity.seed, sizeof identity.seed) == 0) return true;
    }
    return false;
}

// The header is made to fit: version, direction, group and command come from two bytes.
static uint32_t next_packet(struct feed *feed) {
    static const uint16_t groups[] = {GROUP_OS, GROUP_IMAGE, GROUP_ASSAY, 63};
    uint32_t first = feed_number(feed, 1), second = feed_number(feed, 1), length = feed_number(feed, 2);
    length = smaller(smaller(length, feed_left(feed)), SMP_PACKET_MAX - SMP_HEADER_SIZE);
    memset(request, 0, SMP_HEADER_SIZE);
    request[0] = (uint8_t)((first & 0x1Fu) == 0 ? 0x0A : first & 0x1Fu);
    put_be16(request + 2, length);
    put_be16(request + 4, groups[(first >> 5) % MEMBERS(groups)]);
    request[7] = (uint8_t)second;
    memcpy(request + SMP_HEADER_SIZE, feed->at, length);
    feed->at += length;
    return SMP_HEADER_SIZE + length;
}

void fuzz_packets(const uint8_t *data, uint32_t size) {
    struct feed feed = {data, data + size};
    struct boot_choice choice;
    uint32_t first = feed_number(&feed, 1);
    uint32_t limit = (first & SMALL_ANSWERS) != 0 ? ANSWER_MIN : sizeof answer;
    provision((first & WITH_IDENTITY) != 0);
    while (feed_left(&feed) != 0) {
        uint32_t length = next_packet(&feed);
        uint8_t *packet = malloc(length);  // of exactly its size, so that the sanitizer sees a byte too many
        if (!packet) return;
        memcpy(packet, request, length);
        answered = smp_answer(packet, length, answer, limit);
        free(packet);
        if (answered == 0) continue;
        HOLDS(answered >= SMP_HEADER_SIZE && answered <= limit);
        HOLDS(be16(answer + 2) == answered - SMP_HEADER_SIZE && (answer[0] & 1u) != 0);
        HOLDS(cbor_is_map(answer + SMP_HEADER_SIZE, answered - SMP_HEADER_SIZE));
        HOLDS(!holds_seed(answer, answered));
    }
    host_power_on();
    HOLDS(result_ok(boot_choose(test_key, &choice)) && choice.loaded == good_size);
    HOLDS(memcmp(port_memory(RAM_APP_BASE), good, good_size) == 0);
}

static uint32_t put_packet(uint8_t *at, uint32_t operation, uint32_t group, uint32_t command, uint32_t length) {
    at[0] = (uint8_t)(operation | group << 5);
    at[1] = (uint8_t)command;
    at[2] = (uint8_t)length;
    at[3] = (uint8_t)(length >> 8);
    memcpy(at + 4, request + SMP_HEADER_SIZE, length);
    return 4 + length;
}

// A chunk of an upload.
static uint32_t put_chunk(uint8_t *at, uint32_t offset, const uint8_t *image, uint32_t length, uint32_t whole) {
    struct cbor_writer *map = start_request(offset == 0 ? 4 : 2);
    if (offset == 0) cbor_put_number(map, "image", 0);
    if (offset == 0) cbor_put_number(map, "len", whole);
    cbor_put_number(map, "off", offset);
    cbor_put_bytes(map, "data", image + offset, length);
    return put_packet(at, 0x0A, 1, 1, map->used);
}

static uint32_t put_upload(uint8_t *at) {
    static uint8_t image[2048];
    uint32_t whole = make_good(1, 600, 1, image), used = 0;
    for (uint32_t done = 0; done < whole; done += 400) {
        used += put_chunk(at + used, done, image, smaller(400, whole - done), whole);
    }
    return used;
}

static uint32_t put_questions(uint8_t *at) {
    uint32_t used = 0;
    for (uint32_t command = 0; command < 8; command++) {
        struct cbor_writer *map = start_request(2);
        cbor_put_bytes(map, command == 1 ? "challenge" : "nonce", good, 32);
        cbor_put_number(map, command == 3 ? "slot" : "from", 0);
        used += put_packet(at + used, command == 1 || command == 4 ? 0x0A : 0x08, 2, command, map->used);
    }
    return used;
}

uint32_t seed_packets(uint32_t number, uint8_t *data) {
    struct cbor_writer *map;
    data[0] = (uint8_t)(number & (WITH_IDENTITY | SMALL_ANSWERS));
    switch (number) {
        case 0: return 1 + put_upload(data + 1);
        case 1: return 1 + put_questions(data + 1);
        case 2:
            map = start_request(2);
            cbor_put_string(map, "serial", "S-1");
            cbor_put_bytes(map, "cert", good, 100);
            return 1 + put_packet(data + 1, 0x0A, 2, 2, map->used);
        case 3:
            map = start_request(1);
            cbor_put_string(map, "d", "hello");
            return 1 + put_packet(data + 1, 0x02, 0, 0, map->used);
        case 4:
            map = start_request(2);
            cbor_put_bytes(map, "hash", good, 32);
            cbor_put_bool(map, "confirm", true);
            return 1 + put_packet(data + 1, 0x0A, 1, 0, map->used);
        case 5:
            map = start_request(1);
            cbor_put_bytes(map, "challenge", good, 3);
            return 1 + put_packet(data + 1, 0x0A, 2, 1, map->used);
        case 6:
            map = start_request(1);
            cbor_string(map, "d");
            cbor_text(map, (const char *)memset(good, 'x', 300), 300);
            return 1 + put_packet(data + 1, 0x0A, 0, 0, map->used);
        default: return 0;
    }
}
