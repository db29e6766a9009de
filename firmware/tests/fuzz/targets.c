// SPDX-License-Identifier: Apache-2.0
// The table of fuzz targets, and what they share; see fuzz.h.
#include "fuzz.h"

#include <stdio.h>
#include <stdlib.h>

#include "image_maker.h"

const struct fuzz_target fuzz_targets[] = {
    {"image", fuzz_image, seed_image},       {"boot", fuzz_boot, seed_boot},
    {"frames", fuzz_frames, seed_frames},    {"packets", fuzz_packets, seed_packets},
    {"cbor", fuzz_cbor, seed_cbor},          {"xmodem", fuzz_xmodem, seed_xmodem},
    {"stores", fuzz_stores, seed_stores},    {"delta", fuzz_delta, seed_delta},
    {0, 0, 0},
};

void fuzz_start(void) { image_maker_init(); }

void fuzz_failed(const char *file, int line, const char *what) {
    fprintf(stderr, "%s:%d: this does not hold: %s\n", file, line, what);
    abort();
}

uint32_t feed_left(const struct feed *feed) { return (uint32_t)(feed->end - feed->at); }

uint32_t feed_number(struct feed *feed, uint32_t bytes) {
    uint32_t value = 0;
    for (uint32_t i = 0; i < bytes; i++) {
        if (feed->at < feed->end) value |= (uint32_t)*feed->at++ << (8 * i);
    }
    return value;
}
