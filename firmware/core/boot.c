// SPDX-License-Identifier: Apache-2.0
// Chooses what to start; see boot.h. The rows of boot_table.c say what is asked for; here it is verified, done, and the
// copy in RAM that will run is verified once more. A request that does not verify is dropped, with a note, and the
// image that is there stays.
#include "boot.h"

#include "bytes.h"
#include "counter.h"
#include "delta_apply.h"
#include "notes.h"
#include "port.h"
#include "slots.h"
#include "swap.h"

result_t boot_verify_signed(const struct image_source *source, const uint8_t key[ED25519_PUBLIC_SIZE],
                            struct image *image) {
    uint32_t stored;
    result_t result = image_parse(source, image);
    if (!result_ok(result)) return result;
    result = image_check_hash(source, image);
    if (!result_ok(result)) return result;
    result = image_check_signature(image, key);
    if (!result_ok(result)) return result;
    if (!image->has_counter) return RESULT_OF(ERROR_BAD_HEADER);
    result = counter_read(&stored);
    if (!result_ok(result)) return result;
    return image->security_counter >= stored ? RESULT_OK : RESULT_OF(ERROR_DOWNGRADE);
}

result_t boot_verify(const struct image_source *source, const uint8_t key[ED25519_PUBLIC_SIZE], struct image *image) {
    result_t result = boot_verify_signed(source, key, image);
    if (!result_ok(result)) return result;
    return image->is_patch ? RESULT_OF(ERROR_NOT_BOOTABLE) : RESULT_OK;
}

// Copies the image of a slot to RAM and judges the copy.
static result_t load(enum area slot, const uint8_t key[ED25519_PUBLIC_SIZE], struct boot_choice *choice) {
    uint8_t *memory = port_memory(RAM_APP_BASE);
    choice->loaded = 0;
    memset(&choice->image, 0, sizeof choice->image);
    if (result_ok(flash_blank(slot, 0, FLASH_PROGRAM_SIZE))) return RESULT_OF(ERROR_NO_IMAGE);
    result_t result = image_load(slot, slots[0].limit, memory, RAM_APP_SIZE, &choice->image);
    if (!result_ok(result)) return result;
    choice->loaded = choice->image.total_size;
    struct image_source source = image_in_ram(memory, choice->loaded);
    return boot_verify(&source, key, &choice->image);
}

static uint32_t image_bytes(enum area slot) {
    struct image image;
    struct image_source source = image_in_flash(slot, slots[0].limit);
    return result_ok(image_parse(&source, &image)) ? image.total_size : slots[0].limit;
}

static result_t swap(enum swap_kind kind, struct boot_choice *choice) {
    uint32_t primary = image_bytes(AREA_PRIMARY);
    uint32_t secondary = image_bytes(AREA_SECONDARY);
    choice->event = kind == SWAP_REVERT ? EVENT_REVERTED : EVENT_SWAPPED;
    return swap_run(kind, primary > secondary ? primary : secondary);
}

static void refuse(result_t why, const struct image *image) {
    uint32_t error = result_error(why);
    (void)note_write(NOTE_REFUSED, error, image->hash, result_word(error));
}

// Does what the trailers ask for, if the image in the secondary slot deserves it.
static void follow_trailers(const uint8_t key[ED25519_PUBLIC_SIZE], struct boot_choice *choice) {
    static const enum swap_kind kinds[] = {
        [BOOT_SWAP_TEST] = SWAP_TEST, [BOOT_SWAP_FOR_GOOD] = SWAP_FOR_GOOD, [BOOT_REVERT] = SWAP_REVERT};
    struct trailer primary, secondary;
    if (!result_ok(trailer_read(AREA_PRIMARY, &primary))) return;
    if (!result_ok(trailer_read(AREA_SECONDARY, &secondary))) return;
    enum boot_action action = boot_decide(&primary, &secondary);
    if (action == BOOT_KEEP) return;
    // A slot that waits has not been copied anywhere: who says both has written neither as MCUboot does.
    bool lies = action != BOOT_REVERT && secondary.copy_done != MARK_UNSET;
    result_t result = lies ? RESULT_OF(ERROR_LYING_TRAILER) : load(AREA_SECONDARY, key, choice);
    if (result_ok(result)) {
        (void)swap(kinds[action], choice);
        return;
    }
    refuse(result, &choice->image);
    if (action != BOOT_REVERT) (void)trailer_erase(AREA_SECONDARY);
}

// A swap that was cut comes first: until it is done, the slots hold a mixture. Then a patch becomes an image.
static void settle(const uint8_t key[ED25519_PUBLIC_SIZE], struct boot_choice *choice) {
    enum swap_kind kind;
    result_t result = swap_resume(&kind);
    if (result == RESULT_EMPTY) {
        delta_settle(key);
        follow_trailers(key, choice);
    }
    if (result_ok(result)) choice->event = kind == SWAP_REVERT ? EVENT_REVERTED : EVENT_SWAPPED;
}

// The primary image is bad, the secondary one may be good: better that one, under test, than none.
static result_t rescue(const uint8_t key[ED25519_PUBLIC_SIZE], struct boot_choice *choice) {
    result_t result = load(AREA_SECONDARY, key, choice);
    if (!result_ok(result)) return result;
    result = swap(SWAP_TEST, choice);
    return result_ok(result) ? load(AREA_PRIMARY, key, choice) : result;
}

result_t boot_choose(const uint8_t key[ED25519_PUBLIC_SIZE], struct boot_choice *choice) {
    struct trailer primary;
    memset(choice, 0, sizeof *choice);
    settle(key, choice);
    result_t result = load(AREA_PRIMARY, key, choice);
    if (!result_ok(result)) {
        if (result != RESULT_OF(ERROR_NO_IMAGE)) refuse(result, &choice->image);
        if (!result_ok(rescue(key, choice))) return result;
    }
    result = trailer_read(AREA_PRIMARY, &primary);
    if (!result_ok(result)) return result;
    choice->state = boot_state_of(&primary);
    // Raised only now: the image is confirmed, so nothing has to go back below it.
    if (choice->state == STATE_CONFIRMED) (void)counter_raise(choice->image.security_counter);
    return counter_read(&choice->security_counter);
}

result_t boot_verify_again(const uint8_t key[ED25519_PUBLIC_SIZE], const struct boot_choice *choice) {
    struct image image;
    struct image_source source = image_in_ram(port_memory(RAM_APP_BASE), choice->loaded);
    result_t result = boot_verify(&source, key, &image);
    if (!result_ok(result)) return result;
    return bytes_equal(image.hash, choice->image.hash, SHA256_SIZE) ? RESULT_OK : RESULT_OF(ERROR_BAD_HASH);
}
