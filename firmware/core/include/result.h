// SPDX-License-Identifier: Apache-2.0
// What a function of the firmware answers. Success is one 32-bit pattern and nothing else, so that a skipped
// instruction or a flipped bit is not read as success; a failure carries its number from assay_errors.def.
#ifndef ASSAY_RESULT_H
#define ASSAY_RESULT_H

#include <stdbool.h>
#include <stdint.h>

typedef uint32_t result_t;

#define ASSAY_ERROR(name, number, word) ERROR_##name = number,
enum assay_error {
#include "assay_errors.def"
};
#undef ASSAY_ERROR

#define RESULT_OK 0x5AC3693Cu
#define RESULT_ERROR_MARK 0xE0000000u
#define RESULT_OF(error) (RESULT_ERROR_MARK | (uint32_t)(error))
#define RESULT_FAIL RESULT_OF(ERROR_UNKNOWN)
#define RESULT_EMPTY (RESULT_ERROR_MARK | 0xFFFFu)  // nothing is stored there; never leaves the firmware

static inline bool result_ok(result_t result) { return result == RESULT_OK; }

// The number that goes to the host: 0 for success, `unknown` for whatever is not in the list.
uint32_t result_error(result_t result);

// The word of an error number, as assay_errors.def has it.
const char *result_word(uint32_t error);

#endif
