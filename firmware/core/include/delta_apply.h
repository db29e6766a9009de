// SPDX-License-Identifier: Apache-2.0
// Turns a patch in the secondary slot into the image that it promises, before the bootloader looks at that slot.
#ifndef ASSAY_DELTA_APPLY_H
#define ASSAY_DELTA_APPLY_H

#include "image.h"

// If the secondary slot holds a patch that is asked for, or the work on one was cut: makes the image, in that slot,
// with the request as it was. A patch that cannot be applied here is dropped with its request, and a note says why.
// Otherwise it changes nothing.
void delta_settle(const uint8_t key[ED25519_PUBLIC_SIZE]);

#endif
