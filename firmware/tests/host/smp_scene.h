// SPDX-License-Identifier: Apache-2.0
// A chip whose SMP server is asked for an upload, and what is uploaded.
#ifndef ASSAY_SMP_SCENE_H
#define ASSAY_SMP_SCENE_H

#include "host_port.h"

// What is uploaded: its bytes, the name that the client gives it, and for which image it is.
extern uint8_t image[AREA_SECONDARY_SIZE], sha[32];
extern uint32_t image_size, image_number;

// A chip with one image in its primary slot, a server that knows of no upload, and a good image to upload.
void prepare(void);

// Names the upload by its bytes, which were changed.
void name_upload(void);

// Sends `length` bytes from `offset`; the first ones with the upload's name if it is `named`.
void upload(uint32_t offset, uint32_t length, bool named);

// Sends on from `offset` until all is there or an error comes, which it returns; 996 if the server stands still.
uint32_t upload_from(uint32_t offset, uint32_t chunk);

// All of it is in the secondary slot.
bool in_flash(void);

#endif
