// SPDX-License-Identifier: Apache-2.0
// A verifier that a lasting fault has spoiled. Tests that change the mood put it back.
#ifndef ASSAY_LOOSE_VERIFIER_H
#define ASSAY_LOOSE_VERIFIER_H

#include <stdint.h>

enum verifier_mood { VERIFIER_RIGHT, VERIFIER_ACCEPTS_ANYTHING, VERIFIER_SAYS_NEITHER };

extern enum verifier_mood verifier_mood;

#endif
