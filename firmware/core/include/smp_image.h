// SPDX-License-Identifier: Apache-2.0
// The image group: state, upload, erase.
#ifndef ASSAY_SMP_IMAGE_H
#define ASSAY_SMP_IMAGE_H

#include "boot_table.h"
#include "smp_server.h"
#include "upload.h"

// What differs between the stages.
struct smp_image_stage {
    upload_judge judge;
    // The images in the primary slots are running: they can be confirmed, their slots cannot be erased, and uploads go
    // to the secondary ones. If not, uploads go to the primary ones.
    bool running;
    // Before the slots are changed; fails if this is no time for it. May be null.
    result_t (*may_change)(void);
    // After the running image was confirmed. May be null.
    void (*confirmed)(void);
};

void smp_image_init(const struct smp_image_stage *stage);
result_t smp_image_state(const struct smp_request *request, struct cbor_writer *answer);
result_t smp_image_set_state(const struct smp_request *request, struct cbor_writer *answer);
result_t smp_image_upload(const struct smp_request *request, struct cbor_writer *answer);
result_t smp_image_erase(const struct smp_request *request, struct cbor_writer *answer);

#endif
