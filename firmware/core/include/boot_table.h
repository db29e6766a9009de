// SPDX-License-Identifier: Apache-2.0
// The boot decision: a pure function of what the two trailers say.
#ifndef ASSAY_BOOT_TABLE_H
#define ASSAY_BOOT_TABLE_H

#include "trailer.h"

enum boot_action { BOOT_KEEP, BOOT_SWAP_TEST, BOOT_SWAP_FOR_GOOD, BOOT_REVERT };
enum boot_state { STATE_NONE = 0, STATE_CONFIRMED = 1, STATE_TESTING = 2 };

enum boot_action boot_decide(const struct trailer *primary, const struct trailer *secondary);

// The state of an image that is started from the primary slot as it is.
enum boot_state boot_state_of(const struct trailer *primary);

#endif
