// SPDX-License-Identifier: Apache-2.0
// Power cuts in uploads that go on afterwards: wherever it goes, the next upload of the same file needs no second try,
// sends only what is not there, and what lies in the slot in the end is the file.
#include <stdio.h>
#include <string.h>

#include "boot.h"
#include "check.h"
#include "host_port.h"
#include "image_maker.h"
#include "power_cut.h"
#include "slots.h"
#include "trailer.h"
#include "upload.h"

#ifndef DOUBLE_CUTS
#define DOUBLE_CUTS 3000u
#endif
#define RUNNING 1
#define FILES 3u
#define FRAME 777u  // bytes that come at once: neither pages nor sectors

struct file {
    uint8_t bytes[AREA_PRIMARY_SIZE], sha[SHA256_SIZE];
    uint32_t size;
};

static struct file files[FILES];  // of versions 2, 3 and 4
static struct host_chip snapshot;
static struct upload upload;
static uint32_t chosen, given;  // the file that is sent, bytes of it that the device took
static enum area slot;

static void make_file(uint32_t number, uint32_t body) {
    struct file *file = &files[number];
    struct sha256 hash;
    file->size = make_good((uint8_t)(number + 2), body, 1, file->bytes);
    sha256_init(&hash);
    sha256_update(&hash, file->bytes, file->size);
    sha256_final(&hash, file->sha);
}

// A unit that runs version 1 confirmed. Its secondary slot is full of what was there before.
static void prepare_unit(void) {
    blank_chip();
    (void)make_good(RUNNING, BODY_OLD, 1, host_flash + AREA_PRIMARY_OFFSET);
    for (uint32_t i = 0; i < AREA_SECONDARY_SIZE; i++) host_flash[AREA_SECONDARY_OFFSET + i] = (uint8_t)(i * 31 + 5);
    make_file(0, BODY_NEW);
    make_file(1, BODY_NEW - 200);
    make_file(2, BODY_NEW);
    chosen = 0;
    slot = AREA_SECONDARY;
    host_power_on();
}

static result_t judge(const struct image_source *source, struct image *image) {
    return boot_verify(source, test_key, image);
}

// After a reset: the device remembers nothing but what is in flash.
static result_t begin(void) {
    memset(&upload, 0, sizeof upload);
    upload.slot = slot;
    upload.judge = judge;
    return upload_begin(&upload, files[chosen].size, files[chosen].sha);
}

static bool send(uint32_t up_to) {
    const struct file *file = &files[chosen];
    bool done = upload.complete;
    while (upload.active && upload.reached < up_to) {
        uint32_t part = file->size - upload.reached < FRAME ? file->size - upload.reached : FRAME;
        if (!result_ok(upload_take(&upload, file->bytes + upload.reached, part, &done))) return false;
        given = upload.reached;
    }
    return done;
}

static bool receive(void) { return result_ok(begin()) && send(files[chosen].size); }
static void do_receive(void) {
    given = 0;
    (void)receive();
}
static void do_erase(void) { (void)upload_erase(&upload, slot); }

// The slot holds the file, and nothing behind it up to its last sector.
static bool is_there(void) {
    uint32_t start = slot == AREA_PRIMARY ? AREA_PRIMARY_OFFSET : AREA_SECONDARY_OFFSET;
    for (uint32_t i = files[chosen].size; i < slot_trailer_at(slot); i++) {
        if (host_flash[start + i] != FLASH_ERASED) return false;
    }
    return memcmp(host_flash + start, files[chosen].bytes, files[chosen].size) == 0;
}

static uint8_t booted(void) {
    struct boot_choice choice;
    return result_ok(boot_choose(test_key, &choice)) ? choice.image.version.major : 0;
}

// Wherever the power goes, what comes afterwards is right at the first try, and much of it need not be sent again.
static void check_every_cut(uint8_t boots) {
    uint32_t sum_given = 0, sum_kept = 0, cuts = 0;
    for (struct cuts at = every_cut(); next_cut(&at, do_receive);) {
        CHECK(boots == 0 || booted() == boots);
        sum_given += given;
        CHECK(result_ok(begin()));
        sum_kept += upload.active && upload.reached < given ? upload.reached : given;
        CHECK(send(files[chosen].size) && is_there());
        cuts++;
    }
    printf("  upload: %u cuts, %u%% of what had come was kept\n", cuts, 100 * sum_kept / sum_given);
    CHECK(sum_kept > sum_given / 3 && cuts > 20);
}

static void test_goes_on_in_the_app(void) {
    prepare_unit();
    check_every_cut(RUNNING);
}

// Recovery writes to the slot from which is started: nothing is, before it is whole.
static void test_goes_on_in_recovery(void) {
    prepare_unit();
    slot = AREA_PRIMARY;
    host_flash[AREA_PRIMARY_OFFSET] ^= 1;
    check_every_cut(0);
    CHECK(booted() == 2);
}

// The power goes between two frames, nothing is torn: what is sent again is less than a sector, or a page where
// sectors are large.
static void test_between_frames(void) {
    uint32_t piece = FLASH_ERASE_SIZE > 4096 ? FLASH_PROGRAM_SIZE : FLASH_ERASE_SIZE;
    uint32_t marks = (FLASH_ERASE_SIZE - 512) / FLASH_WRITE_SIZE;  // that surely have room
    prepare_unit();
    for (uint32_t stop = FRAME; stop < files[0].size && (stop + piece) / piece < marks; stop += FRAME) {
        check_context("stop at %u", stop);
        prepare_unit();
        CHECK(result_ok(begin()) && !send(stop));
        CHECK(result_ok(begin()) && upload.active && upload.reached <= stop && stop - upload.reached < piece);
        CHECK(send(files[0].size) && is_there());
    }
}

// The power goes once more, in one of the first operations with which the upload goes on.
static void test_cut_again(void) {
    prepare_unit();
    snapshot = host_chip;
    for (uint32_t n = 0;; n++) {
        for (uint32_t again = 0; again < 4 * TEAR_COUNT; again++) {
            check_context("cut in operation %u, and case %u", n, again);
            host_chip = snapshot;
            host_seed(n * 64 + again + 1);
            if (!cut(do_receive, n, TEAR_BITS)) return;
            (void)cut(do_receive, again / TEAR_COUNT, (enum tear)(again % TEAR_COUNT));
            CHECK(receive() && is_there() && booted() == RUNNING);
        }
    }
}

// Uploads of some files and erases, each cut somewhere: whichever file is sent in the end, it arrives at the first try.
static void test_files_in_turn(void) {
    uint32_t kept = 0;
    for (uint32_t seed = 1; seed <= DOUBLE_CUTS / 3; seed++) {
        check_context("seed %u", seed);
        prepare_unit();
        host_seed(seed);
        for (uint32_t i = 0; i < 4; i++) {
            chosen = host_random() % FILES;
            void (*action)(void) = host_random() % 6 == 0 ? do_erase : do_receive;
            (void)cut(action, host_random() % 60, (enum tear)(host_random() % TEAR_COUNT));
            CHECK(booted() == RUNNING);
        }
        chosen = host_random() % FILES;
        CHECK(result_ok(begin()));
        kept += upload.reached != 0;
        CHECK(send(files[chosen].size) && is_there() && booted() == RUNNING);
    }
    CHECK(kept > DOUBLE_CUTS / 100);
}

// One file waits and is asked for; the power goes while another one is uploaded over it. The first one goes in whole,
// from before anything was changed, or not at all; the second one is not blocked.
static void test_over_one_that_is_asked_for(void) {
    prepare_unit();
    CHECK(receive() && result_ok(trailer_request(AREA_SECONDARY, false)));
    chosen = 1;
    for (struct cuts at = every_cut(); next_cut(&at, do_receive);) {
        bool untouched = memcmp(host_flash + AREA_SECONDARY_OFFSET, files[0].bytes, files[0].size) == 0;
        CHECK(booted() == (untouched ? 2 : RUNNING));
        if (untouched) continue;
        CHECK(receive() && is_there() && result_ok(trailer_request(AREA_SECONDARY, false)) && booted() == 3);
    }
}

// What came before the reset is other than the file (a bit changed, or the name was wrong): refused at the end, and the
// next upload begins anew.
static void test_what_was_kept_is_bad(void) {
    prepare_unit();
    CHECK(result_ok(begin()) && !send(files[0].size / 2));
    host_flash[AREA_SECONDARY_OFFSET + FLASH_PROGRAM_SIZE + 3] ^= 1;
    CHECK(result_ok(begin()));
    if (upload.reached != 0) CHECK(!send(files[0].size) && !upload.active && !upload.complete);
    CHECK(host_flash[AREA_SECONDARY_OFFSET] == FLASH_ERASED && booted() == RUNNING);
    CHECK(result_ok(begin()) && upload.reached == 0 && send(files[0].size) && is_there());
}

// What is uploaded in recovery is confirmed, also an image that is there already and came in for a test.
static void test_recovery_with_what_is_there(void) {
    struct boot_choice choice;
    prepare_unit();
    CHECK(receive() && result_ok(trailer_request(AREA_SECONDARY, false)) && booted() == 2);
    slot = AREA_PRIMARY;
    uint32_t before = host_operations;
    CHECK(result_ok(begin()) && upload.complete && host_operations <= before + 1);
    CHECK(result_ok(boot_choose(test_key, &choice)) && choice.image.version.major == 2);
    CHECK(choice.state == STATE_CONFIRMED && choice.event == EVENT_NONE);
}

// The flash refuses one operation: the upload fails with a number or goes on, and is done by the third try.
static void test_flash_refuses(void) {
    prepare_unit();
    snapshot = host_chip;
    host_power_on();
    CHECK(receive());
    uint32_t operations = host_operations;
    for (uint32_t n = 0; n < operations; n++) {
        check_context("flash refuses operation %u", n);
        host_chip = snapshot;
        host_power_on();
        host_fail_at(n);
        bool done = false;
        for (uint32_t tries = 0; tries < 3 && !done; tries++) done = receive();
        CHECK(done && is_there() && booted() == RUNNING);
    }
}

const struct test tests_power_upload[] = {
    {"goes_on_in_the_app", test_goes_on_in_the_app},
    {"goes_on_in_recovery", test_goes_on_in_recovery},
    {"between_frames", test_between_frames},
    {"cut_again", test_cut_again},
    {"files_in_turn", test_files_in_turn},
    {"over_one_that_is_asked_for", test_over_one_that_is_asked_for},
    {"what_was_kept_is_bad", test_what_was_kept_is_bad},
    {"recovery_with_what_is_there", test_recovery_with_what_is_there},
    {"flash_refuses", test_flash_refuses},
    {0, 0},
};
