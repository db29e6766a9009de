// SPDX-License-Identifier: Apache-2.0
// The bootloader's work without its hardware: finish or start a swap, verify, choose. The jump is the caller's.
#ifndef ASSAY_BOOT_H
#define ASSAY_BOOT_H

#include "handoff.h"

struct boot_choice {
    struct image image;  // verified, its copy lies in RAM at RAM_APP_BASE
    uint32_t loaded;     // bytes of the copy
    enum boot_state state;
    enum boot_event event;
    uint32_t security_counter;  // as stored when the choice was made
    struct handoff_image radio;  // verified where it lies
};

// Judges what is signed: format, board, revision, hash, signature, security counter. A patch may pass.
result_t boot_verify_signed(const struct image_source *source, const uint8_t key[ED25519_PUBLIC_SIZE],
                            struct image *image);

// Judges an image that is to be started: the same, and it is no patch.
result_t boot_verify(const struct image_source *source, const uint8_t key[ED25519_PUBLIC_SIZE], struct image *image);

// Ends with a verified image in RAM, or says why there is none (then only recovery helps).
result_t boot_choose(const uint8_t key[ED25519_PUBLIC_SIZE], struct boot_choice *choice);

// The second decision, made from nothing but the copy in RAM, right before the jump.
result_t boot_verify_again(const uint8_t key[ED25519_PUBLIC_SIZE], const struct boot_choice *choice);

#endif
