// SPDX-License-Identifier: Apache-2.0
// Power cuts in what is stored beside the images: identity, counter, notes, and the ROM's write of a bootloader.
#include <stdio.h>
#include <string.h>

#include "check.h"
#include "counter.h"
#include "host_port.h"
#include "identity.h"
#include "image_maker.h"
#include "notes.h"
#include "port.h"
#include "power_cut.h"
#include "rom_loader.h"

static struct identity first_identity, second_identity;
static void store_first(void) { (void)identity_store(&first_identity); }
static void store_second(void) { (void)identity_store(&second_identity); }

static void test_identity(void) {
    struct identity found;
    blank_chip();
    memset(&first_identity, 0, sizeof first_identity);
    memset(first_identity.seed, 0x11, sizeof first_identity.seed);
    second_identity = first_identity;
    second_identity.serial_length = 4;
    memcpy(second_identity.serial, "SN-1", 4);
    second_identity.certificate_length = 900;
    memset(second_identity.certificate, 0x30, 900);
    for (int tear = TEAR_BEFORE; tear < TEAR_COUNT; tear++) {
        for (uint32_t n = 0;; n++) {
            check_context("first store, operation %u, tear %d", n, tear);
            blank_chip();
            if (!cut(store_first, n, (enum tear)tear)) break;
            result_t result = identity_load(&found);
            CHECK(result == RESULT_EMPTY || (result_ok(result) && memcmp(&found, &first_identity, sizeof found) == 0));
            CHECK(result_ok(identity_store(&first_identity)) && result_ok(identity_load(&found)));
        }
        for (uint32_t n = 0;; n++) {
            check_context("second store, operation %u, tear %d", n, tear);
            blank_chip();
            host_power_on();
            CHECK(result_ok(identity_store(&first_identity)));
            if (!cut(store_second, n, (enum tear)tear)) break;
            CHECK(result_ok(identity_load(&found)));
            bool old = memcmp(&found, &first_identity, sizeof found) == 0;
            CHECK(old || memcmp(&found, &second_identity, sizeof found) == 0);
            CHECK(result_ok(identity_store(&second_identity)) && result_ok(identity_load(&found)));
            CHECK(memcmp(&found, &second_identity, sizeof found) == 0);
        }
    }
}

// So many that both halves of the log are filled and used again; a large half would take too long, it is turned once.
#define CELLS (AREA_COUNTERS_SIZE / 2 / RECORD_SIZE)
#define RAISES (CELLS > 128 ? 100u : 6 * CELLS)
#define NOTES (CELLS > 128 ? 100u : 4 * CELLS)

static uint32_t raise_to;
static void do_raise(void) { (void)counter_raise(0, raise_to); }

// Through the change of sectors and back: at each cut the counter is the old one or the new one, never less.
static void test_counter(void) {
    for (int tear = TEAR_BEFORE; tear < TEAR_COUNT; tear++) {
        uint32_t value = 0, found;
        blank_chip();
        host_seed((uint32_t)tear + 1);
        for (raise_to = 1; raise_to < RAISES; raise_to++) {
            for (uint32_t n = 0; cut(do_raise, n, (enum tear)tear) && n < 20; n++) {
                check_context("raise to %u, operation %u, tear %d", raise_to, n, tear);
                CHECK(result_ok(counter_read(0, &found)) && (found == value || found == raise_to));
            }
            check_context("raise to %u, tear %d", raise_to, tear);
            CHECK(result_ok(counter_read(0, &found)) && found == raise_to);
            value = raise_to;
        }
    }
}

static uint32_t note_code;
static void do_note(void) { (void)note_write(NOTE_REVERTED, note_code, 0, "cut"); }

// The log keeps its order, and the newest sector full of notes, through all cuts.
static void test_notes(void) {
    const uint32_t kept = (AREA_NOTES_SIZE / 2 / RECORD_SIZE - 1) / 2;  // of a half, at least: a cut one takes room
    for (int tear = TEAR_BEFORE; tear < TEAR_COUNT; tear++) {
        blank_chip();
        host_seed((uint32_t)tear + 1);
        for (note_code = 1; note_code < NOTES; note_code++) {
            struct record_cursor cursor;
            struct note note;
            uint32_t count = 0, last = 0;
            (void)cut(do_note, note_code % 4, (enum tear)tear);
            do_note();
            check_context("note %u, tear %d", note_code, tear);
            CHECK(result_ok(notes_start(&cursor)));
            while (result_ok(notes_next(&cursor, &note))) {
                CHECK(count == 0 || note.sequence > last);
                last = note.sequence;
                count++;
            }
            CHECK(note.code == note_code);
            CHECK(count >= (note_code < kept ? note_code : kept));
        }
    }
}

static uint8_t old_image[AREA_BOOT_SIZE], new_image[AREA_BOOT_SIZE];
static uint32_t old_size, new_size;

static void do_rom_write(void) {
    struct image image;
    const char *reason;
    memcpy(port_memory(RAM_BOOT_BASE), new_image, new_size);
    if (result_ok(rom_check_ram(new_size, &image, &reason))) (void)rom_write(&image);
}

// A bootloader that is half written is not started: the ROM waits for the next transfer.
static void test_rom_write(void) {
    struct image image;
    const char *reason;
    old_size = make_good(1, BODY_OLD, 1, old_image);
    new_size = make_good(2, BODY_NEW, 2, new_image);
    blank_chip();
    memcpy(host_flash + AREA_BOOT_OFFSET, old_image, old_size);
    for (struct cuts at = every_cut(); next_cut(&at, do_rom_write);) {
        if (result_ok(rom_check_flash(&image, &reason))) {
            const uint8_t *whole = image.version.major == 1 ? old_image : new_image;
            uint32_t size = image.version.major == 1 ? old_size : new_size;
            CHECK(memcmp(port_memory(RAM_BOOT_BASE), whole, size) == 0);
        }
        do_rom_write();
        CHECK(result_ok(rom_check_flash(&image, &reason)) && image.version.major == 2);
    }
    printf("  all power cuts: %u\n", cuts_made);
}

const struct test tests_power_stores[] = {
    {"identity", test_identity},
    {"counter", test_counter},
    {"notes", test_notes},
    {"rom_write", test_rom_write},
    {0, 0},
};
