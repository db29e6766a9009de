// SPDX-License-Identifier: Apache-2.0
// Comparing bytes, measuring texts, and the words of the errors.
#include "bytes.h"

#include "result.h"

bool bytes_equal(const void *left, const void *right, uint32_t length) {
    const volatile uint8_t *a = left;
    const volatile uint8_t *b = right;
    uint32_t difference = 0;
    for (uint32_t i = 0; i < length; i++) difference |= (uint32_t)(a[i] ^ b[i]);
    return difference == 0;
}

bool bytes_are(const void *data, uint8_t value, uint32_t length) {
    const uint8_t *p = data;
    for (uint32_t i = 0; i < length; i++) {
        if (p[i] != value) return false;
    }
    return true;
}

uint32_t text_length(const char *text, uint32_t limit) {
    uint32_t length = 0;
    while (length < limit && text[length] != '\0') length++;
    return length;
}

#define ASSAY_ERROR(name, number, word) word,
static const char *const words[] = {
#include "assay_errors.def"
};
#undef ASSAY_ERROR
#define WORD_COUNT (sizeof words / sizeof words[0])

// The list has no gaps: row n holds number n. A gap would shift the words, so it does not compile.
#define ASSAY_ERROR(name, number, word) ORDER_##name,
enum order {
#include "assay_errors.def"
};
#undef ASSAY_ERROR
#define ASSAY_ERROR(name, number, word) _Static_assert((int)ORDER_##name == (number), "assay_errors.def has a gap");
#include "assay_errors.def"
#undef ASSAY_ERROR

uint32_t result_error(result_t result) {
    if (result_ok(result)) return ERROR_OK;
    uint32_t number = result ^ RESULT_ERROR_MARK;
    return number > 0 && number < WORD_COUNT ? number : (uint32_t)ERROR_UNKNOWN;
}

const char *result_word(uint32_t error) { return words[error < WORD_COUNT ? error : (uint32_t)ERROR_UNKNOWN]; }
