// SPDX-License-Identifier: Apache-2.0
// Tells what the radio has; see radio.h. The radio itself is not emulated: on a real board the app would start it here,
// after the hash was found to be the one that the bootloader verified.
#include "radio.h"

#include "bytes.h"
#include "handoff.h"
#include "slots.h"

#define RADIO 1u

#if IMAGE_COUNT > 1
// Verified by the bootloader, which holds the key, and still what lies there.
static bool is_verified(const struct handoff_image *handed, const struct image_source *source, struct image *image) {
    return handed->number == RADIO && result_ok(image_check_hash(source, image)) &&
           bytes_equal(image->hash, handed->hash, SHA256_SIZE);
}

static void say_image(struct text *line, const struct handoff_image *image) {
    char version[IMAGE_VERSION_TEXT];
    image_version_text(&image->version, version);
    text_add(line, "name=");
    text_add(line, image->name);
    text_add(line, " version=");
    text_add(line, version);
    text_add(line, " hash=");
    text_hex(line, image->hash, SHA256_SIZE);
    text_add(line, "\r\n");
}
#endif

bool radio_say(struct text *line) {
    text_add(line, "ASSAY-RADIO 1 ");
#if IMAGE_COUNT > 1
    static struct image image;  // never on the stack: see image.c
    struct handoff_image handed;
    struct image_source source = image_in_flash(slots[RADIO].primary, slots[RADIO].limit);
    bool there = result_ok(image_parse(&source, &image));
    bool told = result_ok(handoff_read_image(&handed));
    if (there && told && is_verified(&handed, &source, &image)) say_image(line, &handed);
    else text_add(line, !there ? "no image\r\n" : told ? "bad image\r\n" : "unverified image\r\n");
    return there;
#else
    text_add(line, "no radio\r\n");
    return false;
#endif
}
