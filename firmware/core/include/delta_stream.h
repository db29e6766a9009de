// SPDX-License-Identifier: Apache-2.0
// The decompressed stream of a patch: bytes and numbers, pulled.
#ifndef ASSAY_DELTA_STREAM_H
#define ASSAY_DELTA_STREAM_H

#include "delta.h"

// The next byte as it lies in the patch. RESULT_EMPTY at its end.
result_t delta_raw_byte(void *delta, uint8_t *byte);

// Begins the decompression that delta->compression names. Fails with bad-patch.
result_t delta_stream_start(struct delta *delta);

// The next `length` bytes, decompressed. Fails with bad-patch when the patch ends before.
result_t delta_stream_read(struct delta *delta, uint8_t *data, uint32_t length);

// RESULT_OK if the patch ends here.
result_t delta_stream_ended(struct delta *delta);

#endif
