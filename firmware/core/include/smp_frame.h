// SPDX-License-Identifier: Apache-2.0
// SMP packets on a UART: console framing (base64 lines) and raw framing, told apart by the first byte; all else is a
// line from a person. Fed byte by byte, so it does not matter how the bytes are cut up on their way.
#ifndef ASSAY_SMP_FRAME_H
#define ASSAY_SMP_FRAME_H

#include <stdbool.h>
#include <stdint.h>

#define SMP_HEADER_SIZE 8u
#ifndef SMP_PACKET_MAX
#define SMP_PACKET_MAX 6144u  // bytes with header: `buf_size` of the MCUmgr parameters
#endif
#define SMP_BUFFERS 3u        // `buf_count`: packets that a client may send ahead
#define SMP_LINE_MAX 79u      // characters of a person's line that are kept
#define SMP_SILENCE_MS 500u   // a frame that stops for so long is dropped
#define SMP_RAW_SILENCE_MS 300u  // in raw framing, where nothing but silence tells where a frame begins
#define SMP_CRLF_MS 20u       // a line feed so soon after a carriage return belongs to it

enum smp_framing { SMP_CONSOLE, SMP_RAW };
enum smp_event { SMP_NOTHING, SMP_PACKET, SMP_LINE };

struct smp_receiver {
    uint8_t state;
    uint8_t quantum_length;  // base64 characters that wait for their group of four
    uint8_t first, padding;
    uint32_t quantum;
    uint32_t used;      // bytes in `data`
    uint32_t expected;  // bytes of the whole frame, once its head is known
    uint32_t last_ms;
    uint32_t line_end_ms;  // when a carriage return ended a line
    bool line_ended;
    uint32_t line_used;
    uint32_t frames_bad;
    enum smp_framing framing;  // of the packet that was received
    const uint8_t *packet;     // valid until the next byte is fed
    uint32_t packet_length;
    uint8_t data[SMP_PACKET_MAX + 4];  // with length and CRC of the console framing
    char line[SMP_LINE_MAX + 1];
};

void smp_receiver_init(struct smp_receiver *receiver);
enum smp_event smp_receive(struct smp_receiver *receiver, uint8_t byte, uint32_t now_ms);

typedef void (*smp_write)(const void *data, uint32_t length);
void smp_send(smp_write write, enum smp_framing framing, const uint8_t *packet, uint32_t length);

#endif
