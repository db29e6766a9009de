// SPDX-License-Identifier: Apache-2.0
// The stores without power cuts (those are in test_power.c): what they hold, what they refuse, when they turn.
#include <string.h>

#include "check.h"
#include "counter.h"
#include "crc.h"
#include "flash.h"
#include "handoff.h"
#include "host_port.h"
#include "identity.h"
#include "notes.h"
#include "port.h"

static void blank(void) {
    host_power_on();
    host_blank();
}

static void test_crc(void) {
    CHECK(crc16(0, "123456789", 9) == 0x31C3);
    CHECK(crc32("123456789", 9) == 0xCBF43926u);
    CHECK(crc16(crc16(0, "1234", 4), "56789", 5) == 0x31C3);
}

static void test_flash_guards(void) {
    enum { LONG = FLASH_ERASE_SIZE >= 2048 ? 1201 : 301 };
    uint8_t bytes[LONG];
    blank();
    memset(bytes, 0x5A, sizeof bytes);
    CHECK(result_ok(flash_program(AREA_SCRATCH, 96, bytes, LONG)));  // split at the pages
    CHECK(!result_ok(flash_program(AREA_SCRATCH, 96, bytes, 1)));    // not erased
    CHECK(!result_ok(flash_program(AREA_SCRATCH, FLASH_ERASE_SIZE - FLASH_WRITE_SIZE, bytes, FLASH_WRITE_SIZE + 1)));
    CHECK(FLASH_WRITE_SIZE == 1 || !result_ok(flash_program(AREA_SCRATCH, FLASH_ERASE_SIZE - 1, bytes, 1)));  // crooked
    CHECK(!result_ok(flash_program(AREA_SCRATCH, 0xFFFFFFFF, bytes, 2)));
    CHECK(!result_ok(flash_read(AREA_SCRATCH, 1, bytes, 0xFFFFFFFF)));
    CHECK(!result_ok(flash_read((enum area)99, 0, bytes, 1)));
    CHECK(!result_ok(flash_erase(AREA_SCRATCH, 1, FLASH_ERASE_SIZE)));
    CHECK(!result_ok(flash_erase(AREA_OTP, 0, FLASH_ERASE_SIZE)));
    CHECK(!result_ok(flash_program(AREA_OTP, 96, bytes, 1)));
    uint32_t before = host_operations;
    CHECK(result_ok(flash_clear(AREA_SCRATCH, 0, FLASH_ERASE_SIZE)) && host_operations == before + 1);
    CHECK(result_ok(flash_clear(AREA_SCRATCH, 0, FLASH_ERASE_SIZE)) && host_operations == before + 1);
}

static void test_counter_is_the_highest(void) {
    uint32_t value;
    blank();
    CHECK(result_ok(counter_read(0, &value)) && value == 0);
    CHECK(result_ok(counter_raise(0, 7)) && result_ok(counter_raise(0, 3)));
    CHECK(result_ok(counter_read(0, &value)) && value == 7);
    uint32_t before = host_operations;
    CHECK(result_ok(counter_raise(0, 7)) && host_operations == before);
    CHECK(result_ok(counter_raise(0, 0xFFFFFFFF)));
    CHECK(result_ok(counter_read(0, &value)) && value == 0xFFFFFFFF);
}

// A lower value that got behind a higher one (an old sector that came back to life) lowers nothing.
static void test_counter_after_a_lower_record(void) {
    static const struct turn same_store = {AREA_COUNTERS, 0x52544341u};
    uint8_t lower[4] = {2, 0, 0, 0};
    uint32_t value;
    blank();
    CHECK(result_ok(counter_raise(0, 9)) && result_ok(record_append(&same_store, lower, 4)));
    CHECK(result_ok(counter_read(0, &value)) && value == 9);
}

static void test_note_content(void) {
    struct record_cursor cursor;
    struct note note;
    uint8_t hash[8] = {1, 2, 3, 4, 5, 6, 7, 8};
    blank();
    const char *reason = "a reason that is longer than forty bytes are, far longer";
    CHECK(result_ok(note_write(NOTE_SELFTEST_FAILED, 3, hash, reason)));
    CHECK(result_ok(notes_start(&cursor)) && result_ok(notes_next(&cursor, &note)));
    CHECK(note.kind == NOTE_SELFTEST_FAILED && note.code == 3 && memcmp(note.hash, hash, 8) == 0);
    CHECK(strcmp(note.reason, "a reason that is longer than forty bytes") == 0);
    CHECK(notes_next(&cursor, &note) == RESULT_EMPTY);
}

static uint32_t count_notes(void) {
    struct record_cursor cursor;
    struct note note;
    uint32_t count = 0;
    for (result_t result = notes_start(&cursor); result_ok(result); count++) result = notes_next(&cursor, &note);
    return count - 1;
}

// Trouble of several kinds at each boot is told twice, and again when something has changed.
static void test_notes_do_not_wear_the_flash(void) {
    uint8_t hash[8] = {1};
    blank();
    for (uint32_t change = 1; change <= 2; change++) {
        for (uint32_t boots = 0; boots < 500; boots++) {
            CHECK(result_ok(note_write(NOTE_REFUSED, ERROR_BAD_HASH, hash, "bad-hash")));
            CHECK(result_ok(note_write(NOTE_REFUSED, ERROR_DEPENDENCY, hash, "dependency")));
            CHECK(result_ok(note_write(NOTE_RECOVERY, ERROR_BAD_HASH, hash, "bad-hash")));
        }
        CHECK(count_notes() == 7 * change - 1);
        CHECK(result_ok(note_write(NOTE_SWAPPED, 0, hash, "for test")));
    }
    blank();
    for (uint32_t boots = 0; boots < 10; boots++) {  // what says that something changed is told each time
        CHECK(result_ok(note_write(NOTE_SWAPPED, 0, hash, "for test")));
        CHECK(result_ok(note_write(NOTE_REVERTED, 0, hash, "not confirmed")));
    }
    CHECK(count_notes() == 20);
}

// Generations go round: what is stored behind the highest one is the newest, and stays so.
static void test_generations_go_round(void) {
    static const struct turn store = {AREA_STATUS, 0x74736574u};
    static const uint32_t words[TURN_WORDS] = {0};
    struct turn_head head;
    uint32_t half, generation, last = 0;
    blank();
    CHECK(result_ok(turn_seal(&store, 0, UINT32_MAX - 2, words)));
    for (uint32_t i = 0; i < 6; i++) {
        CHECK(result_ok(turn_prepare(&store, &half, &generation)));
        CHECK(result_ok(turn_seal(&store, half, generation, words)));
        CHECK(generation != 0 && generation != last);
        uint32_t newest;
        CHECK(result_ok(turn_newest(&store, &newest, &head)) && newest == half && head.generation == generation);
        last = generation;
    }
    CHECK(last == 4);
}

static void test_identity_survives_a_bad_copy(void) {
    struct identity identity = {.serial_length = 2, .serial = "S1", .certificate_length = 3}, found;
    blank();
    CHECK(identity_load(&found) == RESULT_EMPTY);
    CHECK(result_ok(identity_store(&identity)));
    for (uint32_t sector = 0; sector < 2; sector++) {
        uint8_t *byte = &host_flash[AREA_IDENTITY_OFFSET + sector * AREA_IDENTITY_SIZE / 2 + 70];
        *byte ^= 1;
        CHECK(result_ok(identity_load(&found)) && memcmp(&found, &identity, sizeof found) == 0);
        *byte ^= 1;
    }
}

static void test_chip(void) {
    uint8_t id[CHIP_ID_SIZE];
    blank();
    CHECK(chip_id(id) == RESULT_EMPTY && id[0] == 0);
    memcpy(host_flash + AREA_OTP_OFFSET, "ASSYOTP10123456789abcdef", 24);
    CHECK(result_ok(chip_id(id)) && memcmp(id, "0123456789abcdef", 16) == 0);
}

static void test_handoff_is_checked(void) {
    struct handoff handoff = {.boots = 3}, found;
    blank();
    CHECK(handoff_boots() == 0 && handoff_read(&found, FILLED_BY_ROM) == RESULT_EMPTY);
    handoff_write(&handoff, FILLED_BY_ROM);
    CHECK(result_ok(handoff_read(&found, FILLED_BY_ROM)) && handoff_boots() == 3);
    CHECK(handoff_read(&found, FILLED_BY_BOOT) == RESULT_EMPTY);
    uint8_t *memory = port_memory(RAM_HANDOFF_BASE);
    for (uint32_t i = 0; i < sizeof handoff; i++) {
        memory[i] ^= 0x10;
        CHECK(handoff_read(&found, FILLED_BY_ROM) == RESULT_EMPTY);
        memory[i] ^= 0x10;
    }
}

// What is handed over of the radio counts with the hand-off of the same boot only.
static void test_handoff_of_the_radio(void) {
    struct handoff handoff = {.boots = 3};
    struct handoff_image radio = {.number = 1, .hash = {7}, .name = "radio"}, found;
    blank();
    CHECK(handoff_read_image(&found) == RESULT_EMPTY);
    handoff_write(&handoff, FILLED_BY_BOOT);
    CHECK(handoff_read_image(&found) == RESULT_EMPTY);  // a bootloader that does not know of it
    handoff_write_image(&radio);
    CHECK(result_ok(handoff_read_image(&found)) && memcmp(&found, &radio, sizeof found) == 0);
    uint8_t *memory = port_memory(RAM_HANDOFF_BASE);
    for (uint32_t i = 0; i < sizeof handoff + sizeof radio; i++) {
        memory[i] ^= 0x10;
        CHECK(handoff_read_image(&found) == RESULT_EMPTY);
        memory[i] ^= 0x10;
    }
    handoff.boots = 4;
    handoff_write(&handoff, FILLED_BY_BOOT);
    CHECK(handoff_read_image(&found) == RESULT_EMPTY);  // of an earlier boot
}

static void test_words(void) {
    CHECK(strcmp(result_word(ERROR_DOWNGRADE), "downgrade") == 0 && strcmp(result_word(9999), "unknown") == 0);
    CHECK(result_error(RESULT_OK) == 0 && result_error(RESULT_OF(ERROR_BUSY)) == 16);
    CHECK(result_error(0) == ERROR_UNKNOWN && result_error(1) == ERROR_UNKNOWN);
    CHECK(result_error(RESULT_EMPTY) == ERROR_UNKNOWN);
}

const struct test tests_stores[] = {
    {"crc", test_crc},
    {"flash_guards", test_flash_guards},
    {"counter_is_the_highest", test_counter_is_the_highest},
    {"counter_after_a_lower_record", test_counter_after_a_lower_record},
    {"note_content", test_note_content},
    {"notes_do_not_wear_the_flash", test_notes_do_not_wear_the_flash},
    {"generations_go_round", test_generations_go_round},
    {"identity_survives_a_bad_copy", test_identity_survives_a_bad_copy},
    {"chip", test_chip},
    {"handoff_is_checked", test_handoff_is_checked},
    {"handoff_of_the_radio", test_handoff_of_the_radio},
    {"words", test_words},
    {0, 0},
};
