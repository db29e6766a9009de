// SPDX-License-Identifier: Apache-2.0
// The ROM loader; see rom_loader.h. It checks that the bootloader is whole and for this board, and measures it. It
// checks no signature: these boards have no fused key.
#include "rom_loader.h"

#include "bytes.h"
#include "identity.h"
#include "port.h"
#include "text.h"
#include "xmodem.h"

#define BANNER_MS 1000u
#define LINE_BYTES 192u
#define PAGE FLASH_PROGRAM_SIZE

static const char *reason_of(result_t result) {
    switch (result_error(result)) {
        case ERROR_BAD_HEADER:
        case ERROR_NOT_BOOTABLE:
        case ERROR_UNKNOWN_TLV:
        case ERROR_DEPENDENCY: return "header";
        case ERROR_TOO_LARGE:
        case ERROR_WRONG_LENGTH: return "size";
        case ERROR_BOARD_MISMATCH:
        case ERROR_REVISION: return "board";
        case ERROR_BAD_HASH: return "hash";
        default: return "flash";
    }
}

result_t rom_check_ram(uint32_t size, struct image *image, const char **reason) {
    struct image_source source = image_in_ram(port_memory(RAM_BOOT_BASE), size);
    source.number = IMAGE_NUMBER_BOOTLOADER;
    result_t result = image_parse(&source, image);
    if (result_ok(result)) result = image_check_hash(&source, image);
    if (result_ok(result) && image->is_patch) result = RESULT_OF(ERROR_NOT_BOOTABLE);
    *reason = reason_of(result);
    return result;
}

result_t rom_check_flash(struct image *image, const char **reason) {
    *reason = "blank";
    if (result_ok(flash_blank(AREA_BOOT, 0, PAGE))) return RESULT_EMPTY;
    result_t result = image_load(AREA_BOOT, AREA_BOOT_SIZE, port_memory(RAM_BOOT_BASE), RAM_BOOT_SIZE, image);
    *reason = reason_of(result);
    return result_ok(result) ? rom_check_ram(image->total_size, image, reason) : result;
}

result_t rom_write(const struct image *image) {
    const uint8_t *memory = port_memory(RAM_BOOT_BASE);
    struct image written;
    result_t result = flash_erase(AREA_BOOT, 0, AREA_BOOT_SIZE);
    if (result_ok(result)) result = flash_program(AREA_BOOT, PAGE, memory + PAGE, image->total_size - PAGE);
    if (result_ok(result)) result = flash_program(AREA_BOOT, 0, memory, PAGE);
    if (!result_ok(result)) return result;
    struct image_source source = image_in_flash(AREA_BOOT, AREA_BOOT_SIZE);
    result = image_parse(&source, &written);
    if (result_ok(result)) result = image_check_hash(&source, &written);
    if (!result_ok(result)) return result;
    return bytes_equal(written.hash, image->hash, SHA256_SIZE) ? RESULT_OK : RESULT_OF(ERROR_BAD_HASH);
}

static void say(struct text *line) {
    text_add(line, "\r\n");
    port_uart_write(line->at, line->used);
}

// No byte of the banner is a C: the receiver's C behind it must be the only one that a sender sees.
static void banner(const char *reason) {
    uint8_t chip[CHIP_ID_SIZE];
    char buffer[LINE_BYTES];
    struct text line = text_start(buffer, sizeof buffer);
    (void)chip_id(chip);
    text_add(&line, "ASSAY-ROM 1 board=" BOARD_NAME " rev=");
    text_number(&line, BOARD_REVISION);
    text_add(&line, " chip=");
    text_hex(&line, chip, sizeof chip);
    text_add(&line, " reason=");
    text_add(&line, reason);
    say(&line);
    port_uart_write("C", 1);
}

static void say_error(const char *word) {
    char buffer[LINE_BYTES];
    struct text line = text_start(buffer, sizeof buffer);
    text_add(&line, "ASSAY-ROM 1 error=");
    text_add(&line, word);
    say(&line);
}

static void say_written(const struct image *image) {
    char buffer[LINE_BYTES];
    struct text line = text_start(buffer, sizeof buffer);
    text_add(&line, "ASSAY-ROM 1 written hash=");
    text_hex(&line, image->hash, SHA256_SIZE);
    say(&line);
}

static enum xmodem_event feed(struct xmodem *xmodem, const uint8_t *bytes, uint32_t count) {
    enum xmodem_event event = XMODEM_NOTHING;
    uint8_t reply;
    for (uint32_t i = 0; i < count && event != XMODEM_DONE && event != XMODEM_FAILED; i++) {
        event = xmodem_receive(xmodem, bytes[i], port_millis(), &reply);
        if (reply != 0) port_uart_write(&reply, 1);
    }
    if (count == 0) {
        event = xmodem_tick(xmodem, port_millis(), &reply);
        if (reply != 0) port_uart_write(&reply, 1);
    }
    return event;
}

// One transfer. Until its first block is whole, the banner is repeated.
static bool receive(const char *reason, uint32_t *received) {
    static struct xmodem xmodem;
    uint8_t bytes[256];
    uint32_t last_banner = port_millis() - BANNER_MS;
    enum xmodem_event event = XMODEM_NOTHING;
    xmodem_init(&xmodem, port_memory(RAM_BOOT_BASE), AREA_BOOT_SIZE < RAM_BOOT_SIZE ? AREA_BOOT_SIZE : RAM_BOOT_SIZE);
    while (event != XMODEM_DONE && event != XMODEM_FAILED) {
        if (xmodem_waits(&xmodem) && port_millis() - last_banner >= BANNER_MS) {
            last_banner = port_millis();
            banner(reason);
        }
        uint32_t count = port_uart_read(bytes, sizeof bytes);
        event = feed(&xmodem, bytes, count);
        if (count == 0 && event == XMODEM_NOTHING) port_idle();
    }
    *received = xmodem.received;
    return event == XMODEM_DONE;
}

void rom_receive(const char *reason, struct image *image) {
    for (;;) {
        const char *error = "transfer";
        uint32_t received;
        result_t result = RESULT_FAIL;
        if (receive(reason, &received)) {
            result = rom_check_ram(received, image, &error);
            if (result_ok(result)) {
                result = rom_write(image);
                error = "flash";
            }
        }
        if (result_ok(result)) break;
        say_error(error);
    }
    say_written(image);
    port_uart_flush();
}
