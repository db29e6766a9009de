// SPDX-License-Identifier: Apache-2.0
// Signatures of a file through the device's verifier, for vectors that others made.
#ifndef ASSAY_VERIFY_LINES_H
#define ASSAY_VERIFY_LINES_H

// Each line of the file holds public key, signature and message in hex, with one blank between them; the message may be
// empty. Prints `ok` or `no` for each. Returns 0, or 2 if a line is not of this form.
int verify_lines(const char *path);

#endif
