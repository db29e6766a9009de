// SPDX-License-Identifier: Apache-2.0
// Checksums against accidents, not against people.
#ifndef ASSAY_CRC_H
#define ASSAY_CRC_H

#include <stdint.h>

// CRC-16/XMODEM (polynomial 0x1021, start 0): XMODEM blocks and SMP console frames. Chain with the last value.
uint16_t crc16(uint16_t start, const void *data, uint32_t length);

// CRC-32/ISO-HDLC, as zlib's crc32: records in flash and the hand-off.
uint32_t crc32(const void *data, uint32_t length);

// The same over what lies in several places: chain with the last value, 0 at first.
uint32_t crc32_of(uint32_t start, const void *data, uint32_t length);

#endif
