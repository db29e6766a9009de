// SPDX-License-Identifier: Apache-2.0
// The decoder as a program, so that other people's tools can be held against it.
#ifndef ASSAY_DELTA_PROGRAM_H
#define ASSAY_DELTA_PROGRAM_H

// Applies old.N and patch.N of the folder, N from 0 on until one is missing. Where the decoder takes the patch, new.N
// is written; a line "N ok" or "N <word of the error>" is printed for each. Returns 0, or 1 if a file cannot be used.
int apply_patches(const char *folder);

#endif
