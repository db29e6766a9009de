// SPDX-License-Identifier: Apache-2.0
// Chooses what to start; see boot.h. The rows of boot_table.c say what is asked for, group.c for all images together;
// here it is verified, done, and the copy in RAM that will run is verified once more. A request that does not verify
// is dropped, with a note, and what is there stays.
#include "boot.h"

#include "bytes.h"
#include "counter.h"
#include "delta_apply.h"
#include "group.h"
#include "notes.h"
#include "port.h"
#include "swap.h"

// The images that would be there together.
struct images {
    struct image of[IMAGE_COUNT];
    bool there[IMAGE_COUNT];
    uint32_t bad;  // number of the one that a refusal is about
};

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
    result = counter_read(source->number, &stored);
    if (!result_ok(result)) return result;
    return image->security_counter >= stored ? RESULT_OK : RESULT_OF(ERROR_DOWNGRADE);
}

result_t boot_verify(const struct image_source *source, const uint8_t key[ED25519_PUBLIC_SIZE], struct image *image) {
    result_t result = boot_verify_signed(source, key, image);
    if (!result_ok(result)) return result;
    return image->is_patch ? RESULT_OF(ERROR_NOT_BOOTABLE) : RESULT_OK;
}

// Copies the app of a slot to RAM and judges the copy.
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

// Judges an image that another processor runs, where it lies.
static result_t judge_in_place(enum area slot, const uint8_t key[ED25519_PUBLIC_SIZE], struct image *image) {
    struct image_source source = image_in_flash(slot, slots[slot_image(slot)].limit);
    memset(image, 0, sizeof *image);
    if (result_ok(flash_blank(slot, 0, FLASH_PROGRAM_SIZE))) return RESULT_OF(ERROR_NO_IMAGE);
    return boot_verify(&source, key, image);
}

static void refuse(result_t why, const struct image *image) {
    uint32_t error = result_error(why);
    (void)note_write(NOTE_REFUSED, error, image->hash, result_word(error));
}

static bool is_met(const struct image_dependency *dependency, const struct images *images) {
    uint32_t on = dependency->image;
    return on < IMAGE_COUNT && images->there[on] && image_version_reaches(&images->of[on].version, &dependency->lowest);
}

static bool all_met(uint32_t number, const struct images *images) {
    for (uint32_t k = 0; k < images->of[number].dependency_count; k++) {
        if (!is_met(&images->of[number].dependencies[k], images)) return false;
    }
    return true;
}

// A swap must leave nothing unmet. Where nothing moves, an image that lacks something is as good as missing; only the
// app, which comes last and so finds what is left, cannot be.
static result_t check_dependencies(uint32_t moved, struct images *images) {
    for (uint32_t left = IMAGE_COUNT; left > 0; left--) {
        uint32_t i = left - 1;
        if (!images->there[i] || all_met(i, images)) continue;
        images->bad = i;
        if (i == 0 || moved != 0) return RESULT_OF(ERROR_DEPENDENCY);
        refuse(RESULT_OF(ERROR_DEPENDENCY), &images->of[i]);
        images->there[i] = false;
    }
    return RESULT_OK;
}

// Judges what would be there with the images of `moved` swapped: those and the app must be good, any other one may be
// missing (its processor is not started then), and what depends on another one must find it.
static result_t judge(uint32_t moved, const uint8_t key[ED25519_PUBLIC_SIZE], struct boot_choice *choice,
                      struct images *images) {
    result_t first = RESULT_OK;
    for (uint32_t i = 0; i < IMAGE_COUNT; i++) {
        bool moves = (moved & GROUP_BIT(i)) != 0;
        enum area slot = moves ? slots[i].secondary : slots[i].primary;
        result_t result = i == 0 ? load(slot, key, choice) : judge_in_place(slot, key, &images->of[i]);
        if (i == 0) images->of[0] = choice->image;
        images->there[i] = result_ok(result);
        if (result_ok(result) || !result_ok(first)) continue;
        if (i == 0 || moves) {
            first = result;
            images->bad = i;
        } else if (result != RESULT_OF(ERROR_NO_IMAGE)) {
            refuse(result, &images->of[i]);
        }
    }
    return result_ok(first) ? check_dependencies(moved, images) : first;
}

static uint32_t image_bytes(uint32_t number, enum area slot) {
    static struct image image;
    struct image_source source = image_in_flash(slot, slots[number].limit);
    return result_ok(image_parse(&source, &image)) ? image.total_size : slots[number].limit;
}

static result_t swap(enum swap_kind kind, uint32_t moved, struct boot_choice *choice) {
    uint32_t bytes[IMAGE_COUNT] = {0};
    for (uint32_t i = 0; i < IMAGE_COUNT; i++) {
        if ((moved & GROUP_BIT(i)) == 0) continue;
        uint32_t primary = image_bytes(i, slots[i].primary);
        uint32_t secondary = image_bytes(i, slots[i].secondary);
        bytes[i] = primary > secondary ? primary : secondary;
    }
    choice->event = kind == SWAP_REVERT ? EVENT_REVERTED : EVENT_SWAPPED;
    return swap_run(kind, bytes);
}

// That an image went out is said by its trailer, too, but not while that is erased and written anew.
static result_t read_marks(struct group_marks marks[IMAGE_COUNT]) {
    result_t result = group_read(marks);
    for (uint32_t i = 0; i < IMAGE_COUNT && result_ok(result); i++) {
        if (marks[i].waits && swap_took_out(i, marks[i].hash_start)) marks[i].secondary.went_out = MARK_SET;
    }
    return result;
}

// A slot that waits has not been copied anywhere: who says both has written neither as MCUboot does.
static bool one_lies(uint32_t asked, const struct group_marks marks[IMAGE_COUNT]) {
    for (uint32_t i = 0; i < IMAGE_COUNT; i++) {
        if ((asked & GROUP_BIT(i)) != 0 && marks[i].secondary.copy_done != MARK_UNSET) return true;
    }
    return false;
}

static void drop_requests(uint32_t asked) {
    for (uint32_t i = 0; i < IMAGE_COUNT; i++) {
        if ((asked & GROUP_BIT(i)) != 0) (void)trailer_withdraw(slots[i].secondary);
    }
}

// The request stays: it is good as soon as the other image is asked for, too.
static void note_incomplete(uint32_t asked) {
    for (uint32_t i = 0; i < IMAGE_COUNT; i++) {
        static struct image image;
        struct image_source source = image_in_flash(slots[i].secondary, slots[i].limit);
        if ((asked & GROUP_BIT(i)) == 0) continue;
        (void)image_parse(&source, &image);
        refuse(RESULT_OF(ERROR_GROUP_INCOMPLETE), &image);
    }
}

// Does what the trailers ask for, if the images in the secondary slots deserve it.
static void follow_trailers(const uint8_t key[ED25519_PUBLIC_SIZE], struct boot_choice *choice) {
    static const enum swap_kind kinds[] = {
        [BOOT_SWAP_TEST] = SWAP_TEST, [BOOT_SWAP_FOR_GOOD] = SWAP_FOR_GOOD, [BOOT_REVERT] = SWAP_REVERT};
    struct group_marks marks[IMAGE_COUNT];
    static struct images images;  // never on the stack: see image.c
    memset(&images, 0, sizeof images);
    if (!result_ok(read_marks(marks))) return;
    struct group_decision decision = group_decide(marks);
    if (decision.incomplete != 0) note_incomplete(decision.incomplete);
    if (decision.unconfirmed != 0) (void)group_confirm();
    if (decision.action == BOOT_KEEP) return;
    bool lies = decision.action != BOOT_REVERT && one_lies(decision.images, marks);
    result_t result = lies ? RESULT_OF(ERROR_LYING_TRAILER) : judge(decision.images, key, choice, &images);
    if (result_ok(result)) {
        (void)swap(kinds[decision.action], decision.images, choice);
        return;
    }
    refuse(result, &images.of[images.bad]);
    if (decision.action != BOOT_REVERT) drop_requests(decision.images);
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

enum { RESCUE_LAST_SWAP, RESCUE_BAD, RESCUE_WAITING, RESCUES };

// What may be exchanged for what cannot be started, in the order in which it is tried: all that came in by the last
// swap, then what is bad, then all that waits.
static void list_rescues(const struct images *images, const struct group_marks marks[IMAGE_COUNT],
                         uint32_t moved[RESCUES]) {
    memset(moved, 0, RESCUES * sizeof moved[0]);
    moved[RESCUE_LAST_SWAP] = group_of_last_swap(marks);
    for (uint32_t i = 0; i < IMAGE_COUNT; i++) {
        if (!marks[i].waits) continue;
        moved[RESCUE_WAITING] |= GROUP_BIT(i);
        if (!images->there[i]) moved[RESCUE_BAD] |= GROUP_BIT(i);
    }
}

// What is there is bad, what waits may be good: better that, under test, than none.
static result_t rescue(const uint8_t key[ED25519_PUBLIC_SIZE], struct boot_choice *choice, struct images *images) {
    struct group_marks marks[IMAGE_COUNT];
    result_t result = read_marks(marks);
    if (!result_ok(result)) return result;
    uint32_t moved[RESCUES];
    list_rescues(images, marks, moved);
    for (uint32_t i = 0; i < RESCUES; i++) {
        if (moved[i] == 0 || !result_ok(judge(moved[i], key, choice, images))) continue;
        result = swap(SWAP_TEST, moved[i], choice);
        return result_ok(result) ? judge(0, key, choice, images) : result;
    }
    return RESULT_OF(ERROR_NO_IMAGE);
}

// Only for confirmed images: then nothing has to go back below the counters.
static void raise_counters(const struct images *images) {
    for (uint32_t i = 0; i < IMAGE_COUNT; i++) {
        if (images->there[i]) (void)counter_raise(i, images->of[i].security_counter);
    }
}

static void tell_radio(const struct images *images, struct boot_choice *choice) {
#if IMAGE_COUNT > 1
    const struct image *radio = &images->of[1];
    if (!images->there[1]) return;
    choice->radio.number = radio->number;
    choice->radio.version = radio->version;
    memcpy(choice->radio.hash, radio->hash, sizeof choice->radio.hash);
    memcpy(choice->radio.name, radio->name, sizeof choice->radio.name);
#else
    (void)images;
    (void)choice;
#endif
}

result_t boot_choose(const uint8_t key[ED25519_PUBLIC_SIZE], struct boot_choice *choice) {
    struct group_marks marks[IMAGE_COUNT];
    static struct images images;  // never on the stack: see image.c
    memset(choice, 0, sizeof *choice);
    memset(&images, 0, sizeof images);
    settle(key, choice);
    if (swap_under_way()) return RESULT_OF(ERROR_FLASH);  // a step failed: what is half done has no trailer yet
    result_t result = judge(0, key, choice, &images);
    if (!result_ok(result)) {
        if (result != RESULT_OF(ERROR_NO_IMAGE)) refuse(result, &images.of[images.bad]);
        if (!result_ok(rescue(key, choice, &images))) return result;
    }
    tell_radio(&images, choice);
    result = read_marks(marks);
    if (!result_ok(result)) return result;
    choice->state = group_state(marks);
    if (choice->state == STATE_CONFIRMED) raise_counters(&images);
    return counter_read(0, &choice->security_counter);
}

// Zero if the same signature is refused for a hash that differs in one bit. What accepts anything accepts that, too.
static uint32_t check_refusal(struct image *image, const uint8_t key[ED25519_PUBLIC_SIZE]) {
    image->hash[0] ^= 1u;
    uint32_t wrong = image_check_signature(image, key) ^ RESULT_OF(ERROR_BAD_SIGNATURE);
    image->hash[0] ^= 1u;
    return wrong;
}

// Not by boot_verify: an instruction that is wrong there each time it comes would be wrong twice.
result_t boot_verify_again(const uint8_t key[ED25519_PUBLIC_SIZE], const struct boot_choice *choice) {
    static struct image image;  // never on the stack: see image.c
    uint32_t stored;
    struct image_source source = image_in_ram(port_memory(RAM_APP_BASE), choice->loaded);
    uint32_t wrong = image_parse(&source, &image) ^ RESULT_OK;
    if (wrong != 0) return RESULT_OF(ERROR_BAD_HEADER);
    wrong |= image_check_hash(&source, &image) ^ RESULT_OK;
    wrong |= image_check_signature(&image, key) ^ RESULT_OK;
    wrong |= check_refusal(&image, key);
    wrong |= counter_read(source.number, &stored) ^ RESULT_OK;
    wrong |= !image.has_counter || image.security_counter < stored || image.is_patch;
    wrong |= !bytes_equal(image.hash, choice->image.hash, SHA256_SIZE);
    return wrong == 0 ? RESULT_OK : RESULT_OF(ERROR_BAD_SIGNATURE);
}
