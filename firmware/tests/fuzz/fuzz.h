// SPDX-License-Identifier: Apache-2.0
// Fuzz targets: what the core does with bytes that anybody may send or leave in flash. Two drivers feed them: libFuzzer
// (libfuzzer.c), and a small mutator of our own that every compiler builds (mutate.c).
#ifndef ASSAY_FUZZ_H
#define ASSAY_FUZZ_H

#include <stdbool.h>
#include <stdint.h>

#define FUZZ_INPUT_MAX 16384u  // bytes

struct fuzz_target {
    const char *name;
    void (*one)(const uint8_t *data, uint32_t size);  // one input; must not keep anything that changes the next one
    uint32_t (*seed)(uint32_t number, uint8_t *data);  // the number-th seed of the corpus; 0 bytes: there are no more
};

extern const struct fuzz_target fuzz_targets[];  // ends with a row without a name

void fuzz_image(const uint8_t *data, uint32_t size);
void fuzz_boot(const uint8_t *data, uint32_t size);
void fuzz_frames(const uint8_t *data, uint32_t size);
void fuzz_packets(const uint8_t *data, uint32_t size);
void fuzz_cbor(const uint8_t *data, uint32_t size);
void fuzz_xmodem(const uint8_t *data, uint32_t size);
void fuzz_stores(const uint8_t *data, uint32_t size);
void fuzz_delta(const uint8_t *data, uint32_t size);

uint32_t seed_image(uint32_t number, uint8_t *data);
uint32_t seed_boot(uint32_t number, uint8_t *data);
uint32_t seed_frames(uint32_t number, uint8_t *data);
uint32_t seed_packets(uint32_t number, uint8_t *data);
uint32_t seed_cbor(uint32_t number, uint8_t *data);
uint32_t seed_xmodem(uint32_t number, uint8_t *data);
uint32_t seed_stores(uint32_t number, uint8_t *data);
uint32_t seed_delta(uint32_t number, uint8_t *data);

// Call once, before any input.
void fuzz_start(void);

_Noreturn void fuzz_failed(const char *file, int line, const char *what);

// What must hold for every input.
#define HOLDS(condition)                                                  \
    do {                                                                  \
        if (!(condition)) fuzz_failed(__FILE__, __LINE__, #condition);    \
    } while (0)

// Takes an input apart. Behind its end there are zeros.
struct feed {
    const uint8_t *at, *end;
};

uint32_t feed_number(struct feed *feed, uint32_t bytes);
uint32_t feed_left(const struct feed *feed);

#endif
