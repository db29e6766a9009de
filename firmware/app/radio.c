// SPDX-License-Identifier: Apache-2.0
// Tells what the radio has; see radio.h. The radio itself is not emulated: on a real board the app would start it here,
// after the hash was found to be the one that the bootloader verified.
#include "radio.h"

#include "bytes.h"
#include "image.h"
#include "slots.h"

#define RADIO 1u

bool radio_say(struct text *line) {
    text_add(line, "ASSAY-RADIO 1 ");
#if IMAGE_COUNT > 1
    char version[IMAGE_VERSION_TEXT];
    struct image image;
    struct image_source source = image_in_flash(slots[RADIO].primary, slots[RADIO].limit);
    bool there = result_ok(image_parse(&source, &image));
    if (there && result_ok(image_check_hash(&source, &image))) {
        image_version_text(&image.version, version);
        text_add(line, "name=");
        text_add(line, image.name);
        text_add(line, " version=");
        text_add(line, version);
        text_add(line, " hash=");
        text_hex(line, image.hash, SHA256_SIZE);
        text_add(line, "\r\n");
        return true;
    }
    text_add(line, there ? "bad image\r\n" : "no image\r\n");
    return there;
#else
    text_add(line, "no radio\r\n");
    return false;
#endif
}
