// SPDX-License-Identifier: Apache-2.0
// The radio's image, as far as the app has to do with it: it tells what is there.
#ifndef ASSAY_RADIO_H
#define ASSAY_RADIO_H

#include <stdbool.h>

#include "text.h"

// Writes "ASSAY-RADIO 1 ...": name, version and hash of the image in the radio's primary slot, as the bootloader verified
// it, if that is what lies there now; or that there is none, or a bad one, or (by a bootloader that tells nothing of
// it) an unverified one. Answers whether the board has a radio with an image.
bool radio_say(struct text *line);

#endif
