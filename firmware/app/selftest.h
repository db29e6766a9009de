// SPDX-License-Identifier: Apache-2.0
// The self-test on whose result the bootloader's way back depends.
#ifndef ASSAY_SELFTEST_H
#define ASSAY_SELFTEST_H

#include "handoff.h"

struct selftest_result {
    uint32_t code;  // 0: passed; else the number of the check that failed
    const char *reason;
};

struct selftest_result selftest_run(const struct handoff *handoff);

#endif
