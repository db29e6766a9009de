// SPDX-License-Identifier: Apache-2.0
// Entropy from a virtio-rng device.
#ifndef ASSAY_VIRTIO_RNG_H
#define ASSAY_VIRTIO_RNG_H

#include "result.h"

// Fails with no-entropy if there is no device, or it gives too little within 2 s.
result_t virtio_rng_read(uint8_t *data, uint32_t length);

#endif
