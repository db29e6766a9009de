// SPDX-License-Identifier: Apache-2.0
// The ROM loader's reasons, and what it prints: a sender waits for a C, so the banner must hold no other one.
#include <string.h>

#include "check.h"
#include "crc.h"
#include "host_port.h"
#include "image_maker.h"
#include "port.h"
#include "rom_loader.h"

static struct image image;
static const char *reason;

static bool refused_for(const char *word) {
    return !result_ok(rom_check_flash(&image, &reason)) && strcmp(reason, word) == 0;
}

static void put_good(void) {
    host_power_on();
    host_blank();
    (void)make_good(1, 3000, 1, host_flash + AREA_BOOT_OFFSET);
}

static void test_reasons(void) {
    put_good();
    CHECK(result_ok(rom_check_flash(&image, &reason)));
    struct recipe numbered = {.major = 1, .body_size = 3000, .counter = 1, .board = BOARD_NAME, .seed = test_seed,
                              .image = IMAGE_NUMBER_BOOTLOADER};
    host_blank();
    (void)make_image(&numbered, host_flash + AREA_BOOT_OFFSET);
    CHECK(result_ok(rom_check_flash(&image, &reason)));
    numbered.image = 1;
    host_blank();
    (void)make_image(&numbered, host_flash + AREA_BOOT_OFFSET);
    CHECK(refused_for("board"));
    put_good();
    CHECK(result_ok(rom_check_flash(&image, &reason)));
    host_flash[AREA_BOOT_OFFSET + 0x300] ^= 1;
    CHECK(refused_for("hash"));
    put_good();
    host_flash[AREA_BOOT_OFFSET] ^= 1;
    CHECK(refused_for("header"));
    put_good();
    host_flash[AREA_BOOT_OFFSET + 14] = 0x7F;
    CHECK(refused_for("size"));
    const struct recipe foreign = {.major = 1, .body_size = 3000, .board = "other", .seed = test_seed};
    put_good();
    (void)make_image(&foreign, host_flash + AREA_BOOT_OFFSET);
    CHECK(refused_for("board"));
    const struct recipe patch = {.major = 1, .body_size = 3000, .counter = 1, .board = BOARD_NAME, .seed = test_seed,
                                 .base = test_seed, .gives = other_seed, .patch_format = 1};
    put_good();
    (void)make_image(&patch, host_flash + AREA_BOOT_OFFSET);
    CHECK(refused_for("header"));
    host_blank();
    CHECK(refused_for("blank"));
}

static void test_banner_then_transfer(void) {
    static uint8_t sent[9000], block[1029];
    uint32_t blocks = 0;
    host_power_on();
    host_blank();
    memcpy(host_flash + AREA_OTP_OFFSET, "ASSYOTP10123456789abcdef", 24);
    uint32_t size = make_good(1, 3000, 1, sent);
    memset(sent + size, 0x1A, sizeof sent - size);
    for (uint32_t at = 0; at < size; at += 1024) {
        block[0] = 2;
        block[1] = (uint8_t)++blocks;
        block[2] = (uint8_t)~blocks;
        memcpy(block + 3, sent + at, 1024);
        uint16_t crc = crc16(0, block + 3, 1024);
        block[1027] = (uint8_t)(crc >> 8);
        block[1028] = (uint8_t)crc;
        host_type(block, sizeof block);
    }
    host_type("\x04", 1);
    rom_receive("blank", &image);
    CHECK(memcmp(host_flash + AREA_BOOT_OFFSET, sent, size) == 0);
    CHECK(host_flash[AREA_BOOT_OFFSET + size] == FLASH_ERASED);  // the padding of XMODEM is not written
    host_sent[host_sent_length] = 0;
    const char *text = (const char *)host_sent;
    const char *first_c = strchr(text, 'C');
    CHECK(first_c && first_c[-1] == '\n' && strstr(text, "reason=blank\r\n") < first_c);
    CHECK(strstr(text, "chip=30313233343536373839616263646566 ") && strstr(text, "ASSAY-ROM 1 written hash="));
    CHECK(result_ok(rom_check_flash(&image, &reason)));
}

const struct test tests_rom[] = {
    {"reasons", test_reasons}, {"banner_then_transfer", test_banner_then_transfer}, {0, 0}};
