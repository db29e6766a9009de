// SPDX-License-Identifier: Apache-2.0
// The door for libFuzzer, which is told at compile time which target it drives.
#include <stddef.h>
#include <string.h>

#include "fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static const struct fuzz_target *target;
    if (!target) {
        fuzz_start();
        for (target = fuzz_targets; strcmp(target->name, FUZZ_TARGET) != 0;) target++;
    }
    if (size <= FUZZ_INPUT_MAX) target->one(data, (uint32_t)size);
    return 0;
}
