// SPDX-License-Identifier: Apache-2.0
// Puts lines together; see text.h. A printf would bring more code than all of this.
#include "text.h"

struct text text_start(char *buffer, uint32_t size) {
    buffer[0] = '\0';
    return (struct text){.at = buffer, .room = size - 1, .used = 0};
}

void text_bytes(struct text *text, const char *more, uint32_t length) {
    for (uint32_t i = 0; i < length && text->used < text->room; i++) text->at[text->used++] = more[i];
    text->at[text->used] = '\0';
}

void text_add(struct text *text, const char *more) {
    while (*more != '\0' && text->used < text->room) text->at[text->used++] = *more++;
    text->at[text->used] = '\0';
}

void text_number(struct text *text, uint32_t number) {
    char digits[10];
    uint32_t at = sizeof digits;
    do {
        digits[--at] = (char)('0' + number % 10);
        number /= 10;
    } while (number != 0);
    text_bytes(text, digits + at, sizeof digits - at);
}

void text_hex(struct text *text, const uint8_t *data, uint32_t length) {
    static const char hex[] = "0123456789abcdef";
    for (uint32_t i = 0; i < length; i++) {
        char pair[2] = {hex[data[i] >> 4], hex[data[i] & 15]};
        text_bytes(text, pair, 2);
    }
}
