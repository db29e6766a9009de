// SPDX-License-Identifier: Apache-2.0
// SMP framing; see smp_frame.h. What is in a packet is the matter of smp_server.c. A frame that is damaged is counted
// and dropped, and the receiver is ready for the next one.
#include "smp_frame.h"

#include "bytes.h"
#include "crc.h"

#define START_1 0x06u
#define START_2 0x09u
#define MORE_1 0x04u
#define MORE_2 0x14u
#define LINE_BYTES 93u  // of a packet in one line: 124 base64 characters, 127 with start and end

enum state { IDLE, LINE, RAW, RAW_LOST, MARK, BASE64, SKIP };

static void reset(struct smp_receiver *rx) {
    rx->state = IDLE;
    rx->used = rx->expected = 0;
    rx->quantum = rx->quantum_length = rx->padding = rx->first = 0;
    rx->line_used = 0;
}

static enum smp_event drop(struct smp_receiver *rx, enum state next) {
    rx->frames_bad++;
    reset(rx);
    rx->state = (uint8_t)next;
    return SMP_NOTHING;
}

void smp_receiver_init(struct smp_receiver *rx) { memset(rx, 0, sizeof *rx); }

static enum smp_event give(struct smp_receiver *rx, enum smp_framing framing, uint32_t skip, uint32_t length) {
    rx->framing = framing;
    rx->packet = rx->data + skip;
    rx->packet_length = length;
    reset(rx);
    return SMP_PACKET;
}

// What a raw header may start with: SMP version 1 or 2, request or answer.
static bool starts_raw(uint8_t byte) { return (byte & 0xF4u) == 0; }

// Bytes that no person's line holds. After a pause, also those that a person could type but a raw header starts with:
// noise that began a line must not swallow what a client sends later.
static bool breaks_line(const struct smp_receiver *rx, uint8_t byte, bool silent) {
    if (rx->state != LINE || byte == '\r' || (byte == '\n' && !silent)) return false;
    if (silent && starts_raw(byte)) return true;
    return byte >= 0x7Fu || (byte < ' ' && byte != '\b' && byte != '\t' && byte != '\n');
}

static enum smp_event feed_line(struct smp_receiver *rx, uint8_t byte, uint32_t now_ms) {
    if (byte != '\r' && byte != '\n') {
        if (rx->line_used < SMP_LINE_MAX) rx->line[rx->line_used++] = (char)byte;
        return SMP_NOTHING;
    }
    rx->line[rx->line_used] = '\0';
    rx->line_used = 0;
    rx->state = IDLE;
    rx->line_ended = byte == '\r';
    rx->line_end_ms = now_ms;
    return SMP_LINE;
}

static enum smp_event feed_raw(struct smp_receiver *rx, uint8_t byte) {
    rx->data[rx->used++] = byte;
    if (rx->used == SMP_HEADER_SIZE) {
        rx->expected = SMP_HEADER_SIZE + be16(rx->data + 2);
        if (rx->expected > SMP_PACKET_MAX) return drop(rx, RAW_LOST);
    }
    if (rx->used < SMP_HEADER_SIZE || rx->used < rx->expected) return SMP_NOTHING;
    return give(rx, SMP_RAW, 0, rx->expected);
}

static int base64_value(uint8_t c) {
    if (c >= 'A' && c <= 'Z') return c - 'A';
    if (c >= 'a' && c <= 'z') return c - 'a' + 26;
    if (c >= '0' && c <= '9') return c - '0' + 52;
    if (c == '+') return 62;
    if (c == '/') return 63;
    return -1;
}

// The end of a line: either the frame is whole, or another line must follow.
static enum smp_event end_base64_line(struct smp_receiver *rx) {
    if (rx->quantum_length != 0 || rx->used < 2) return drop(rx, IDLE);
    rx->expected = 2u + be16(rx->data);
    if (rx->expected < 2u + SMP_HEADER_SIZE + 2u || rx->expected > sizeof rx->data) return drop(rx, IDLE);
    if (rx->used > rx->expected) return drop(rx, IDLE);
    if (rx->used < rx->expected) {
        rx->state = MARK;
        rx->first = MORE_1;
        rx->quantum = 0;
        return SMP_NOTHING;
    }
    if (crc16(0, rx->data + 2, rx->expected - 2) != 0) return drop(rx, IDLE);
    return give(rx, SMP_CONSOLE, 2, rx->expected - 4);
}

static enum smp_event feed_base64(struct smp_receiver *rx, uint8_t byte) {
    if (byte == '\r') return SMP_NOTHING;
    if (byte == '\n') return end_base64_line(rx);
    int value = base64_value(byte);
    if (byte == '=' && rx->quantum_length >= 2) {
        rx->padding++;
        value = 0;
    } else if (value < 0 || rx->padding != 0) {
        return drop(rx, SKIP);
    }
    rx->quantum = (rx->quantum << 6) | (uint32_t)value;
    if (++rx->quantum_length < 4) return SMP_NOTHING;
    uint32_t bytes = 3u - rx->padding;
    if (rx->padding > 2 || bytes > sizeof rx->data - rx->used) return drop(rx, SKIP);
    for (uint32_t i = 0; i < bytes; i++) rx->data[rx->used++] = (uint8_t)(rx->quantum >> (16 - 8 * i));
    rx->quantum = rx->quantum_length = rx->padding = 0;
    return SMP_NOTHING;
}

static enum smp_event feed_idle(struct smp_receiver *rx, uint8_t byte, uint32_t now_ms) {
    bool belongs = rx->line_ended && byte == '\n' && now_ms - rx->line_end_ms <= SMP_CRLF_MS;
    rx->line_ended = false;
    if (belongs) return SMP_NOTHING;
    if (byte == START_1 || byte == MORE_1) {
        rx->state = MARK;
        rx->first = byte;
        return SMP_NOTHING;
    }
    if (starts_raw(byte)) {
        rx->state = RAW;
        return feed_raw(rx, byte);
    }
    if (byte >= 0x7Fu || (byte < ' ' && byte != '\r' && byte != '\t')) return SMP_NOTHING;  // noise
    rx->state = LINE;
    return feed_line(rx, byte, now_ms);
}

// The second byte of the two that begin a console line. The first of them may be repeated by a client that resends.
static enum smp_event feed_mark(struct smp_receiver *rx, uint8_t byte) {
    if (rx->first == START_1 && byte == START_2) {
        reset(rx);
        rx->state = BASE64;
    } else if (rx->first == MORE_1 && byte == MORE_2) {
        if (rx->used == 0) return drop(rx, SKIP);  // the first line of this frame was lost
        rx->state = BASE64;
    } else if (byte == START_1 || byte == MORE_1) {
        rx->first = byte;
    } else {
        return drop(rx, SKIP);
    }
    return SMP_NOTHING;
}

// A frame that has stopped is over. Behind a raw frame that cannot be, every byte could begin another one (an image is
// full of zeros, and eight of them are a header), so what follows counts for nothing until the client pauses.
static void end_at_silence(struct smp_receiver *rx, uint32_t pause_ms) {
    bool raw = rx->state == RAW || rx->state == RAW_LOST;
    if (rx->state == IDLE || rx->state == LINE || pause_ms <= (raw ? SMP_RAW_SILENCE_MS : SMP_SILENCE_MS)) return;
    if (rx->state == RAW_LOST) reset(rx);
    else (void)drop(rx, IDLE);
}

// A console frame marks its own beginning, which is as good as silence; one byte of the two may be a byte of an image.
static enum smp_event feed_lost(struct smp_receiver *rx, uint8_t byte) {
    bool marked = rx->first == START_1 && byte == START_2;
    rx->first = byte;
    if (!marked) return SMP_NOTHING;
    reset(rx);
    rx->state = BASE64;
    return SMP_NOTHING;
}

enum smp_event smp_receive(struct smp_receiver *rx, uint8_t byte, uint32_t now_ms) {
    uint32_t pause_ms = now_ms - rx->last_ms;
    bool silent = pause_ms > SMP_SILENCE_MS;
    rx->last_ms = now_ms;
    end_at_silence(rx, pause_ms);
    if (breaks_line(rx, byte, silent)) (void)drop(rx, IDLE);
    switch (rx->state) {
        case LINE: return feed_line(rx, byte, now_ms);
        case RAW:
            if (rx->used != 1 || byte == 0) return feed_raw(rx, byte);
            (void)drop(rx, IDLE);  // the flags of a header are 0: so this is none, and the byte may begin another frame
            return feed_idle(rx, byte, now_ms);
        case RAW_LOST: return feed_lost(rx, byte);
        case MARK: return feed_mark(rx, byte);
        case BASE64: return feed_base64(rx, byte);
        case SKIP:
            if (byte == '\n') reset(rx);
            return SMP_NOTHING;
        default: return feed_idle(rx, byte, now_ms);
    }
}

static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

// One line: up to LINE_BYTES bytes, padded to whole groups.
static void send_line(smp_write write, bool first, const uint8_t *data, uint32_t length) {
    char line[2 + LINE_BYTES / 3 * 4 + 1];
    uint32_t used = 0;
    line[used++] = (char)(first ? START_1 : MORE_1);
    line[used++] = (char)(first ? START_2 : MORE_2);
    for (uint32_t i = 0; i < length; i += 3) {
        uint32_t left = length - i;
        uint32_t group = (uint32_t)data[i] << 16;
        if (left > 1) group |= (uint32_t)data[i + 1] << 8;
        if (left > 2) group |= data[i + 2];
        line[used++] = alphabet[(group >> 18) & 63];
        line[used++] = alphabet[(group >> 12) & 63];
        line[used++] = left > 1 ? alphabet[(group >> 6) & 63] : '=';
        line[used++] = left > 2 ? alphabet[group & 63] : '=';
    }
    line[used++] = '\n';
    write(line, used);
}

static void send_console(smp_write write, const uint8_t *packet, uint32_t length) {
    uint8_t part[LINE_BYTES];
    uint8_t tail[2], head[2];
    put_be16(head, length + sizeof tail);
    put_be16(tail, crc16(0, packet, length));
    uint32_t total = sizeof head + length + sizeof tail;
    uint32_t used = 0;
    for (uint32_t i = 0; i < total; i++) {
        uint32_t at = i - (uint32_t)sizeof head;
        part[used++] = i < sizeof head ? head[i] : at < length ? packet[at] : tail[at - length];
        if (used == LINE_BYTES || i + 1 == total) {
            send_line(write, i < LINE_BYTES, part, used);
            used = 0;
        }
    }
}

void smp_send(smp_write write, enum smp_framing framing, const uint8_t *packet, uint32_t length) {
    if (framing == SMP_RAW) write(packet, length);
    else send_console(write, packet, length);
}
