// SPDX-License-Identifier: Apache-2.0
// The slots of each image: it runs from its primary one, and an update waits in its secondary one. They may differ in
// size.
#ifndef ASSAY_SLOTS_H
#define ASSAY_SLOTS_H

#include "flash.h"

struct slots {
    enum area primary, secondary;
    uint32_t limit;  // bytes that the image may have: what the smaller slot holds without the sector of its trailer
};

extern const struct slots slots[IMAGE_COUNT];  // by image number

// The number of the image that this is a slot of; 0 for any other area.
uint32_t slot_image(enum area slot);

// Where the last sector of a slot begins: it holds the trailer, and before it what upload_record.h keeps there.
uint32_t slot_trailer_at(enum area slot);

#endif
