// SPDX-License-Identifier: Apache-2.0
// Applies the patches of a folder; see delta_program.h. Files are held in memory of exactly their size, so that the
// sanitizer sees a read behind their end.
#include "delta_program.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "delta.h"

struct file {
    uint8_t *data;
    size_t size;
};

static struct delta delta;

static bool load(const char *folder, const char *name, unsigned number, struct file *file) {
    char path[512];
    snprintf(path, sizeof path, "%s/%s.%u", folder, name, number);
    FILE *stream = fopen(path, "rb");
    if (!stream) return false;
    fseek(stream, 0, SEEK_END);
    file->size = (size_t)ftell(stream);
    rewind(stream);
    file->data = malloc(file->size ? file->size : 1);
    bool whole = file->data && fread(file->data, 1, file->size, stream) == file->size;
    fclose(stream);
    return whole;
}

static result_t append(void *context, const uint8_t *data, uint32_t length) {
    return fwrite(data, 1, length, context) == length ? RESULT_OK : RESULT_FAIL;
}

static result_t apply(const struct file *old, const struct file *patch, FILE *made) {
    struct image_source from = image_in_ram(old->data, (uint32_t)old->size);
    struct image_source source = image_in_ram(patch->data, (uint32_t)patch->size);
    result_t result = delta_open(&delta, &source, 0, source.size);
    return result_ok(result) ? delta_run(&delta, &from, append, made) : result;
}

int apply_patches(const char *folder) {
    struct file old, patch;
    for (unsigned number = 0; load(folder, "old", number, &old); number++) {
        char path[512];
        if (!load(folder, "patch", number, &patch)) return 1;
        snprintf(path, sizeof path, "%s/new.%u", folder, number);
        FILE *made = fopen(path, "wb");
        if (!made) return 1;
        result_t result = apply(&old, &patch, made);
        if (fclose(made) != 0) return 1;
        if (!result_ok(result)) remove(path);
        printf("%u %s\n", number, result_word(result_error(result)));
        free(old.data);
        free(patch.data);
    }
    return 0;
}
