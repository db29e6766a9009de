// SPDX-License-Identifier: Apache-2.0
// A flash chip as an input describes it: valid heads of the stores, then any bytes anywhere in the areas that code reads.
#ifndef ASSAY_FUZZ_CHIP_H
#define ASSAY_FUZZ_CHIP_H

#include "flash.h"
#include "fuzz.h"

// Areas that an input may write to, as bits.
#define TOUCHED(area) (1u << (area))

// Writes what the rest of the input says to the chip. Returns the areas that it touched.
uint32_t chip_fill(struct feed *feed);

// For seeds: one write in the form that chip_fill reads. Returns its bytes.
uint32_t chip_put(uint8_t *at, enum area area, uint32_t offset, const void *bytes, uint32_t length);
uint32_t chip_put_head(uint8_t *at, enum area area, uint32_t half, uint32_t generation, uint32_t first, uint32_t second);

#endif
