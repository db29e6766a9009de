// SPDX-License-Identifier: Apache-2.0
// CRC-16/XMODEM and CRC-32/ISO-HDLC, four bits at a step: two tables of 16 entries instead of 256.
#include "crc.h"

static const uint16_t crc16_table[16] = {
    0x0000, 0x1021, 0x2042, 0x3063, 0x4084, 0x50A5, 0x60C6, 0x70E7,
    0x8108, 0x9129, 0xA14A, 0xB16B, 0xC18C, 0xD1AD, 0xE1CE, 0xF1EF,
};

static const uint32_t crc32_table[16] = {
    0x00000000, 0x1DB71064, 0x3B6E20C8, 0x26D930AC, 0x76DC4190, 0x6B6B51F4, 0x4DB26158, 0x5005713C,
    0xEDB88320, 0xF00F9344, 0xD6D6A3E8, 0xCB61B38C, 0x9B64C2B0, 0x86D3D2D4, 0xA00AE278, 0xBDBDF21C,
};

uint16_t crc16(uint16_t start, const void *data, uint32_t length) {
    const uint8_t *p = data;
    uint32_t crc = start;
    for (uint32_t i = 0; i < length; i++) {
        crc ^= (uint32_t)p[i] << 8;
        crc = ((crc << 4) ^ crc16_table[(crc >> 12) & 15]) & 0xFFFF;
        crc = ((crc << 4) ^ crc16_table[(crc >> 12) & 15]) & 0xFFFF;
    }
    return (uint16_t)crc;
}

uint32_t crc32(const void *data, uint32_t length) { return crc32_of(0, data, length); }

uint32_t crc32_of(uint32_t start, const void *data, uint32_t length) {
    const uint8_t *p = data;
    uint32_t crc = ~start;
    for (uint32_t i = 0; i < length; i++) {
        crc ^= p[i];
        crc = (crc >> 4) ^ crc32_table[crc & 15];
        crc = (crc >> 4) ^ crc32_table[crc & 15];
    }
    return ~crc;
}
