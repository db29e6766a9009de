// SPDX-License-Identifier: Apache-2.0
// Our own driver of the fuzz targets: it changes the inputs of a corpus by seed, so that the same call does the same
// anywhere. It sees no coverage; libFuzzer does, and what it finds goes to the corpus.
//
//     fuzz TARGET CORPUS SEED RUNS FAILED    each file of the folder CORPUS, then RUNS changed ones; the one that
//                                            fails is written to the file FAILED
//     fuzz --seeds FOLDER                    writes the seeds of all targets to FOLDER/TARGET
#define _POSIX_C_SOURCE 200809L

#include <dirent.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fuzz.h"

#define FILES_MAX 512u
#define INPUT_S 20u  // of one input; then it hangs

static struct input {
    uint8_t *data;
    uint32_t size;
} corpus[FILES_MAX];
static uint32_t corpus_count;

static uint8_t *current;
static uint32_t current_size;
static const char *failed_path;

void __sanitizer_set_death_callback(void (*callback)(void));

// Runs when the program dies; only what a signal handler may call.
static void keep_input(void) {
    FILE *file = current ? fopen(failed_path, "wb") : 0;
    if (!file) return;
    (void)fwrite(current, 1, current_size, file);
    (void)fclose(file);
    current = 0;
}

static void die(int number) {
    (void)number;
    keep_input();
    _exit(1);
}

static uint64_t state;

static uint32_t dice(uint32_t sides) {
    state ^= state >> 12;
    state ^= state << 25;
    state ^= state >> 27;
    return (uint32_t)((state * 0x2545F4914F6CDD1Du) >> 32) % sides;
}

// In a block of exactly its size, so that the sanitizer sees a byte that is read behind it.
static void run(const struct fuzz_target *target, const uint8_t *data, uint32_t size) {
    current = malloc(size + (size == 0));
    if (!current) exit(3);
    memcpy(current, data, size);
    current_size = size;
    (void)alarm(INPUT_S);
    target->one(current, size);
    free(current);
    current = 0;
}

static void read_file(const char *path) {
    FILE *file = fopen(path, "rb");
    if (!file || corpus_count == FILES_MAX) exit(3);
    uint8_t *data = malloc(FUZZ_INPUT_MAX);
    if (!data) exit(3);
    corpus[corpus_count++] = (struct input){data, (uint32_t)fread(data, 1, FUZZ_INPUT_MAX, file)};
    (void)fclose(file);
}

static int by_name(const struct dirent **left, const struct dirent **right) {
    return strcmp((*left)->d_name, (*right)->d_name);
}

static void read_corpus(const char *folder) {
    struct dirent **names;
    char path[1024];
    int count = scandir(folder, &names, 0, by_name);
    for (int i = 0; i < count; i++) {
        snprintf(path, sizeof path, "%s/%s", folder, names[i]->d_name);
        if (names[i]->d_name[0] != '.') read_file(path);
        free(names[i]);
    }
    if (count >= 0) free(names);
}

static const uint8_t telling[] = {0x00, 0x01, 0x04, 0x1F, 0x20, 0x7F, 0x80, 0xFE, 0xFF, 0x0A, 0x5A, 0xBF};

static void move(uint8_t *data, uint32_t *size, uint32_t at, uint32_t length, bool in) {
    if (in && *size + length <= FUZZ_INPUT_MAX) {
        memmove(data + at + length, data + at, *size - at);
        *size += length;
    } else if (!in && length <= *size - at) {
        memmove(data + at, data + at + length, *size - at - length);
        *size -= length;
    }
}

// Heads lie in front, TLVs and trailers at the end: half of the changes go there.
static uint32_t place(uint32_t size) {
    uint32_t near = size < 64 ? size : 64, last = size / 4;
    switch (dice(4)) {
        case 0: return dice(near + 1);
        case 1: return size - dice(last + 1);
        default: return dice(size + 1);
    }
}

// One change: a bit, a byte, a number, a piece that is gone, doubled, or from another input.
static void change(uint8_t *data, uint32_t *size) {
    const struct input *other = &corpus[dice(corpus_count)];
    uint32_t at = place(*size);
    uint32_t length = 1 + dice(dice(4) == 0 ? 64 : 8);
    uint32_t kind = dice(8);
    if (*size - at < length && kind < 4) return;
    switch (kind) {
        case 0: data[at] ^= (uint8_t)(1u << dice(8)); break;
        case 1: data[at] = telling[dice(sizeof telling)]; break;
        case 2: data[at] = (uint8_t)dice(256); break;
        case 3: memset(data + at, telling[dice(sizeof telling)], dice(4) == 0 ? length : dice(length) + 1); break;
        case 4: move(data, size, at, length, false); break;
        case 5: move(data, size, at, length, true); break;
        case 6: *size = dice(4) == 0 ? at : *size; break;
        default:
            if (other->size == 0) break;
            uint32_t from = dice(other->size);
            length = other->size - from < length ? other->size - from : length;
            if (at + length > FUZZ_INPUT_MAX) break;
            memcpy(data + at, other->data + from, length);
            if (at + length > *size) *size = at + length;
    }
}

static int fuzz(const struct fuzz_target *target, uint64_t seed, uint32_t runs) {
    static uint8_t data[FUZZ_INPUT_MAX];
    state = seed * 0x9E3779B97F4A7C15u + 1;
    for (uint32_t i = 0; i < corpus_count; i++) run(target, corpus[i].data, corpus[i].size);
    for (uint32_t i = 0; i < runs; i++) {
        const struct input *from = &corpus[dice(corpus_count)];
        uint32_t size = from->size;
        memcpy(data, from->data, size);
        for (uint32_t changes = 1 + dice(6); changes > 0; changes--) change(data, &size);
        run(target, data, size);
    }
    printf("%s: %u inputs of the corpus, %u changed ones\n", target->name, corpus_count, runs);
    return 0;
}

static int write_seeds(const char *folder) {
    static uint8_t data[4 * FUZZ_INPUT_MAX];
    char path[1024];
    for (const struct fuzz_target *target = fuzz_targets; target->name; target++) {
        snprintf(path, sizeof path, "%s/%s", folder, target->name);
        (void)mkdir(path, 0777);
        uint32_t size;
        for (uint32_t number = 0; (size = target->seed(number, data)) != 0; number++) {
            snprintf(path, sizeof path, "%s/%s/seed-%u", folder, target->name, number);
            FILE *file = size <= FUZZ_INPUT_MAX ? fopen(path, "wb") : 0;
            if (!file || fwrite(data, 1, size, file) != size || fclose(file) != 0) return 3;
        }
    }
    return 0;
}

int main(int argc, char **argv) {
    fuzz_start();
    if (argc == 3 && strcmp(argv[1], "--seeds") == 0) return write_seeds(argv[2]);
    if (argc != 6) return 2;
    failed_path = argv[5];
    __sanitizer_set_death_callback(keep_input);
    (void)signal(SIGABRT, die);
    (void)signal(SIGALRM, die);
    for (const struct fuzz_target *target = fuzz_targets; target->name; target++) {
        if (strcmp(target->name, argv[1]) != 0) continue;
        read_corpus(argv[2]);
        if (corpus_count == 0) return 3;
        return fuzz(target, strtoull(argv[3], 0, 10), (uint32_t)strtoul(argv[4], 0, 10));
    }
    return 2;
}
