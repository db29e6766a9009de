// SPDX-License-Identifier: Apache-2.0
// Lines for people, put together in a buffer with a bound; what does not fit is cut off.
#ifndef ASSAY_TEXT_H
#define ASSAY_TEXT_H

#include <stdint.h>

struct text {
    char *at;
    uint32_t room;  // bytes, without the final NUL
    uint32_t used;
};

struct text text_start(char *buffer, uint32_t size);
void text_add(struct text *text, const char *more);
void text_bytes(struct text *text, const char *more, uint32_t length);
void text_number(struct text *text, uint32_t number);
void text_hex(struct text *text, const uint8_t *data, uint32_t length);

#endif
