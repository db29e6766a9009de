// SPDX-License-Identifier: Apache-2.0
// What a stage tells the next one, at RAM_HANDOFF_BASE: filled by the ROM, completed by the bootloader, read by the
// app. The measurements in it are taken before the measured code runs.
#ifndef ASSAY_HANDOFF_H
#define ASSAY_HANDOFF_H

#include "boot_table.h"
#include "image.h"

#define HANDOFF_MAGIC 0x444E4841u  // "AHND"
#define HANDOFF_LAYOUT 1u

enum handoff_filler { FILLED_BY_ROM = 1, FILLED_BY_BOOT = 2 };
enum boot_event { EVENT_NONE = 0, EVENT_SWAPPED = 1, EVENT_REVERTED = 2 };

struct handoff {
    uint32_t magic;
    uint16_t layout;
    uint8_t filled_by;
    uint8_t state;  // enum boot_state of the app
    uint8_t event;  // enum boot_event of this boot
    uint8_t reserved[3];
    uint32_t boots;  // since power-on, this one included
    uint32_t security_counter;  // as stored
    uint8_t boot_hash[SHA256_SIZE];  // recomputed by the ROM at this boot
    struct image_version boot_version;
    char boot_name[IMAGE_NAME_MAX + 1];
    uint8_t padding[3];
    uint8_t app_hash[SHA256_SIZE];  // recomputed by the bootloader at this boot
    struct image_version app_version;
    char app_name[IMAGE_NAME_MAX + 1];
    uint8_t padding2[3];
    uint32_t crc;  // over all before
};
_Static_assert(sizeof(struct image_version) == 8, "layout of the hand-off");
_Static_assert(sizeof(struct handoff) == 208, "layout of the hand-off");

// Of the radio, image 1: what the bootloader verified in its primary slot at this boot. It lies behind the hand-off, so
// that an app and a bootloader of which one does not know it understand each other; the checksum goes on from the
// hand-off's, so that nothing of an earlier boot is taken for it.
#define HANDOFF_IMAGE_MAGIC 0x494E4841u  // "AHNI"
struct handoff_image {
    uint32_t magic;
    uint32_t number;  // of the image; 0 if there is none that may be started
    uint8_t hash[SHA256_SIZE];
    struct image_version version;
    char name[IMAGE_NAME_MAX + 1];
    uint8_t padding[3];
    uint32_t crc;
};
_Static_assert(sizeof(struct handoff_image) == 104, "layout of the hand-off");
_Static_assert(sizeof(struct handoff) + sizeof(struct handoff_image) <= RAM_HANDOFF_SIZE, "both fit their place");

// After handoff_write by the bootloader.
void handoff_write_image(struct handoff_image *image);

// RESULT_EMPTY if the bootloader handed over none.
result_t handoff_read_image(struct handoff_image *image);

// RESULT_EMPTY if what lies there is no whole hand-off of this filler.
result_t handoff_read(struct handoff *handoff, enum handoff_filler filler);
void handoff_write(struct handoff *handoff, enum handoff_filler filler);

// Number of boots since power-on that a hand-off of any filler tells; 0 if there is none.
uint32_t handoff_boots(void);

#endif
