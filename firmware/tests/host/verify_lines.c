// SPDX-License-Identifier: Apache-2.0
// Reads vectors, one a line; see verify_lines.h. The buffers have the very sizes that the verifier reads, so that the
// sanitizer sees a read behind them.
#include "verify_lines.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "assay_crypto.h"

#define LINE_MAX 20000u

// Gives the bytes, or -1 if the text is no hex of at most `room` bytes.
static long from_hex(const char *text, uint8_t *bytes, size_t room) {
    size_t length = strlen(text);
    if (length % 2 != 0 || length / 2 > room) return -1;
    for (size_t i = 0; i < length; i += 2) {
        char digits[3] = {text[i], text[i + 1], 0}, *end;
        bytes[i / 2] = (uint8_t)strtoul(digits, &end, 16);
        if (end != digits + 2) return -1;
    }
    return (long)(length / 2);
}

static int verify_line(char *line) {
    uint8_t key[ED25519_PUBLIC_SIZE], signature[ED25519_SIGNATURE_SIZE], message[LINE_MAX / 2];
    const char *first = strtok(line, " "), *second = strtok(NULL, " "), *third = strtok(NULL, " ");
    if (!first || !second || from_hex(first, key, sizeof key) != (long)sizeof key) return 2;
    if (from_hex(second, signature, sizeof signature) != (long)sizeof signature) return 2;
    long length = third ? from_hex(third, message, sizeof message) : 0;
    if (length < 0) return 2;
    uint8_t *exact = malloc(length ? (size_t)length : 1);
    memcpy(exact, message, (size_t)length);
    puts(ed25519_verify(signature, exact, (size_t)length, key) == CRYPTO_OK ? "ok" : "no");
    free(exact);
    return 0;
}

int verify_lines(const char *path) {
    static char line[LINE_MAX];
    FILE *file = fopen(path, "r");
    int status = file ? 0 : 2;
    while (status == 0 && fgets(line, sizeof line, file)) {
        line[strcspn(line, "\n")] = '\0';
        status = verify_line(line);
    }
    if (file) fclose(file);
    return status;
}
