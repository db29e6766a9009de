// SPDX-License-Identifier: Apache-2.0
// The image group of a Linux module. What is uploaded is a RAUC bundle; RAUC verifies it and writes the slot that does
// not run. Which slot is started is the boot chooser's matter: a request asks it for one try, BOOT_TEST names the slot.
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "bytes.h"
#include "counter.h"
#include "crc.h"
#include "identity.h"
#include "linux_unit.h"
#include "slots.h"
#include "smp_assay.h"
#include "smp_image.h"

#define BUNDLE_MAX (100u * 1024u * 1024u)  // bytes; the data partition holds one
#define VALUE_MAX 64u
#define INSTALL_TRIES 120u  // of a second each, while RAUC installs for a client that is gone

// Of the upload under way; its file on the data partition outlives a power cut, and so does this name of it.
struct bundle {
    uint32_t length;
    uint8_t sha[SHA256_SIZE];
    uint32_t installed;  // 1 when RAUC has written it
};

static struct bundle bundle;
static uint32_t reached;
static bool known, has_sha;
static int part = -1;
static struct sha256 hash;

void smp_image_init(const struct smp_image_stage *stage) { (void)stage; }

static result_t read_slot(enum area slot, struct image *image) {
    struct image_source source = image_in_flash(slot, slots[0].limit);
    linux_forget_window();
    return image_parse(&source, image);
}

static bool under_request(void) {
    char test[VALUE_MAX];
    linux_boot_variable("BOOT_TEST", test, sizeof test);
    return test[0] == linux_other_slot();
}

static result_t put_slot(struct cbor_writer *answer, uint32_t number, const struct image *image, bool pending) {
    char version[IMAGE_VERSION_TEXT];
    bool testing = assay_stage.state == STATE_TESTING;
    image_version_text(&image->version, version);
    cbor_head(answer, CBOR_MAP, 9);
    cbor_put_number(answer, "image", 0);
    cbor_put_number(answer, "slot", number);
    cbor_put_string(answer, "version", version);
    cbor_put_bytes(answer, "hash", image->hash, sizeof image->hash);
    cbor_put_bool(answer, "bootable", true);
    cbor_put_bool(answer, "pending", number == 1 && pending);
    cbor_put_bool(answer, "confirmed", number == 0 ? !testing : testing);
    cbor_put_bool(answer, "active", number == 0);
    cbor_put_bool(answer, "permanent", false);
    return RESULT_OK;
}

result_t smp_image_state(const struct smp_request *request, struct cbor_writer *answer) {
    static struct image image;
    static const enum area areas[2] = {AREA_PRIMARY, AREA_SECONDARY};
    uint32_t count = 0;
    bool pending = under_request();
    (void)request;
    for (uint32_t i = 0; i < 2; i++) count += result_ok(read_slot(areas[i], &image)) ? 1u : 0u;
    cbor_head(answer, CBOR_MAP, 2);
    cbor_string(answer, "images");
    cbor_head(answer, CBOR_ARRAY, count);
    for (uint32_t i = 0; i < 2; i++) {
        if (!result_ok(read_slot(areas[i], &image))) continue;
        (void)put_slot(answer, i, &image, pending);
    }
    cbor_put_number(answer, "splitStatus", 0);
    return RESULT_OK;
}

static result_t confirm_running(void) {
    if (assay_stage.state == STATE_CONFIRMED) return RESULT_OK;
    result_t result = linux_keep_running();
    if (result_ok(result)) assay_stage.state = STATE_CONFIRMED;
    return result;
}

// BOOT_TEST first: from then on the slot is started once only, whenever the power goes.
static result_t ask_for_other(void) {
    char script[VALUE_MAX];
    const char *const arguments[] = {"/usr/bin/rauc", "status", "mark-active", "other", 0};
    static struct image image;
    uint32_t lowest;
    if (assay_stage.state == STATE_TESTING) return RESULT_OF(ERROR_BUSY);
    if (!result_ok(counter_read(0, &lowest)) || !result_ok(read_slot(AREA_SECONDARY, &image)))
        return RESULT_OF(ERROR_FLASH);
    if (image.security_counter < lowest) return RESULT_OF(ERROR_DOWNGRADE);
    snprintf(script, sizeof script, "BOOT_TEST=%c\n", linux_other_slot());
    if (!linux_set_boot_variables(script)) return RESULT_OF(ERROR_FLASH);
    return linux_run(arguments, 0) ? RESULT_OK : RESULT_OF(ERROR_FLASH);
}

static bool holds(enum area slot, const struct cbor_item *wanted) {
    static struct image image;
    struct image_source source = image_in_flash(slot, slots[0].limit);
    linux_forget_window();
    return result_ok(image_parse(&source, &image)) && bytes_equal(image.hash, wanted->data, SHA256_SIZE) &&
           result_ok(image_check_hash(&source, &image));
}

static result_t set_state(const struct smp_request *request) {
    struct cbor_item wanted;
    bool confirm = smp_get_bool(request, "confirm");
    bool named = cbor_find(request->body, request->length, "hash", &wanted) && wanted.type != CBOR_SIMPLE;
    if (!named) return confirm ? confirm_running() : RESULT_OF(ERROR_BAD_REQUEST);
    if (wanted.type != CBOR_BYTES || wanted.value != SHA256_SIZE) return RESULT_OF(ERROR_BAD_REQUEST);
    if (bytes_equal(linux_handoff()->app_hash, wanted.data, SHA256_SIZE))
        return confirm ? confirm_running() : RESULT_OF(ERROR_BUSY);
    if (!holds(AREA_SECONDARY, &wanted)) return RESULT_OF(ERROR_NO_IMAGE);
    return confirm ? RESULT_OF(ERROR_NOT_HERE) : ask_for_other();  // never for good before it has run
}

result_t smp_image_set_state(const struct smp_request *request, struct cbor_writer *answer) {
    result_t result = set_state(request);
    return result_ok(result) ? smp_image_state(request, answer) : result;
}

// For good, before the slot changes: a name that came back after a power cut would say that the slot holds its image.
static bool forget_upload(void) {
    if (part >= 0) close(part);
    part = -1;
    known = false;
    reached = 0;
    (void)unlink(UPLOAD_NAME);
    (void)unlink(UPLOAD_PART);
    return linux_keep_folder(UPLOAD_NAME);
}

// The bytes that are there are hashed again: what the power cut left is what counts. The last one is asked for again,
// since the answer to it says that RAUC has installed them.
static bool reopen(void) {
    static uint8_t chunk[65536];
    part = open(UPLOAD_PART, O_RDWR | O_CLOEXEC);
    if (part < 0) return false;
    sha256_init(&hash);
    reached = 0;
    for (uint32_t most = bundle.length - 1; reached < most;) {
        uint32_t wanted = most - reached < sizeof chunk ? most - reached : sizeof chunk;
        ssize_t count = read(part, chunk, wanted);
        if (count < 0) return false;
        if (count == 0) break;
        sha256_update(&hash, chunk, (size_t)count);
        reached += (uint32_t)count;
    }
    return true;
}

static result_t begin_anew(uint32_t length, const uint8_t *sha) {
    if (!forget_upload()) return RESULT_OF(ERROR_FLASH);
    if (length == 0 || length > BUNDLE_MAX) return RESULT_OF(ERROR_TOO_LARGE);
    memset(&bundle, 0, sizeof bundle);
    bundle.length = length;
    has_sha = sha != 0;
    if (sha) memcpy(bundle.sha, sha, SHA256_SIZE);
    part = open(UPLOAD_PART, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (part < 0) return RESULT_OF(ERROR_FLASH);
    if (sha && !linux_write_file(UPLOAD_NAME, &bundle, sizeof bundle)) return RESULT_OF(ERROR_FLASH);
    sha256_init(&hash);
    known = true;
    return RESULT_OK;
}

static bool is_same(uint32_t length, const uint8_t *sha) {
    return sha && bundle.length == length && bytes_equal(bundle.sha, sha, SHA256_SIZE);
}

static result_t begin(const struct smp_request *request) {
    struct cbor_item sha;
    uint32_t length, number = 0;
    if (smp_has(request, "image") && !result_ok(smp_get_number(request, "image", &number)))
        return RESULT_OF(ERROR_BAD_REQUEST);
    if (number != 0) return RESULT_OF(ERROR_NO_IMAGE);
    result_t result = smp_get_number(request, "len", &length);
    bool named = smp_has(request, "sha");
    if (result_ok(result) && named) result = smp_get_bytes(request, "sha", SHA256_SIZE, SHA256_SIZE, &sha);
    if (!result_ok(result)) return result;
    if (assay_stage.state == STATE_TESTING) return RESULT_OF(ERROR_BUSY);  // the other slot is the way back
    const uint8_t *name = named ? sha.data : 0;
    if (known && is_same(length, name)) return RESULT_OK;
    if (!known && linux_read_file(UPLOAD_NAME, &bundle, sizeof bundle) && is_same(length, name)) {
        if (bundle.installed) reached = bundle.length;
        else if (!reopen()) return begin_anew(length, name);
        known = has_sha = true;
        return RESULT_OK;
    }
    return begin_anew(length, name);
}

// RAUC's words become the numbers of the device contract: those about its error, since its steps name signatures, too.
static result_t why_not(const char *words) {
    const char *said = strstr(words, "LastError");
    if (!said) said = words;
    if (strstr(said, "ompatible mismatch") || strstr(said, "doesn't match")) return RESULT_OF(ERROR_BOARD_MISMATCH);
    if (strstr(said, "nvalid bundle format")) return RESULT_OF(ERROR_BAD_HEADER);  // "Signature size ... exceeds"
    if (strstr(said, "lready processing")) return RESULT_OF(ERROR_BUSY);
    if (strstr(said, "nput/output") || strstr(said, "dm-verity")) return RESULT_OF(ERROR_BAD_HASH);
    if (strstr(said, "ignature") || strstr(said, "certificate")) return RESULT_OF(ERROR_BAD_SIGNATURE);
    return RESULT_OF(ERROR_BAD_HEADER);
}

static void keep_words(const char *said) {
    int file = open("/data/install.log", O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (file < 0) return;
    (void)!write(file, said, strlen(said));
    close(file);
}

// An installation whose client went away goes on by itself, and this one waits for its end.
static result_t run_rauc(char *said) {
    const char *const arguments[] = {"/usr/bin/rauc", "install", UPLOAD_PART, 0};
    result_t result = RESULT_OK;
    for (uint32_t i = 0; i < INSTALL_TRIES; i++) {
        result = linux_run(arguments, said) ? RESULT_OK : why_not(said);
        if (result != RESULT_OF(ERROR_BUSY)) break;
        nanosleep(&(struct timespec){.tv_sec = 1}, 0);
    }
    return result;
}

static result_t install(void) {
    static char said[SAID_MAX];
    uint8_t digest[SHA256_SIZE];
    sha256_final(&hash, digest);
    if (fsync(part) != 0) return RESULT_OF(ERROR_FLASH);
    close(part);
    part = -1;
    bool same = !has_sha || bytes_equal(digest, bundle.sha, sizeof digest);
    result_t result = same ? RESULT_OK : RESULT_OF(ERROR_BAD_HASH);
    if (same) result = run_rauc(said);
    if (same) keep_words(said);
    linux_forget_window();
    if (!result_ok(result)) {
        (void)forget_upload();
        return result;
    }
    bundle.installed = 1;
    if (has_sha) (void)linux_write_file(UPLOAD_NAME, &bundle, sizeof bundle);
    (void)unlink(UPLOAD_PART);
    return RESULT_OK;
}

static result_t take(const struct cbor_item *data) {
    if (data->value > bundle.length - reached) return RESULT_OF(ERROR_WRONG_LENGTH);
    if (write(part, data->data, data->value) != (ssize_t)data->value) return RESULT_OF(ERROR_FLASH);
    sha256_update(&hash, data->data, data->value);
    reached += data->value;
    return reached == bundle.length ? install() : RESULT_OK;
}

static bool intact(const struct smp_request *request, uint32_t offset, const struct cbor_item *data) {
    uint32_t expected;
    if (!smp_has(request, "crc")) return true;
    uint8_t head[4] = {(uint8_t)offset, (uint8_t)(offset >> 8), (uint8_t)(offset >> 16), (uint8_t)(offset >> 24)};
    uint32_t crc = crc32_of(crc32(head, sizeof head), data->data, data->value);
    return result_ok(smp_get_number(request, "crc", &expected)) && expected == crc;
}

// As the image group of the microcontroller boards: a frame at another offset is answered with the one reached.
result_t smp_image_upload(const struct smp_request *request, struct cbor_writer *answer) {
    struct cbor_item data;
    uint32_t offset;
    result_t result = smp_get_number(request, "off", &offset);
    if (result_ok(result)) result = smp_get_bytes(request, "data", 0, SMP_PACKET_MAX, &data);
    if (!result_ok(result)) return result;
    bool whole = intact(request, offset, &data);
    if (whole && offset == 0) result = begin(request);
    if (!result_ok(result)) return result;
    if (!known) return RESULT_OF(ERROR_BAD_REQUEST);
    if (whole && offset == reached && reached < bundle.length) result = take(&data);
    if (!result_ok(result)) return result;
    bool done = reached == bundle.length && has_sha;
    cbor_head(answer, CBOR_MAP, done ? 3 : 2);
    cbor_put_number(answer, "rc", 0);
    cbor_put_number(answer, "off", reached);
    if (done) cbor_put_bool(answer, "match", true);
    return RESULT_OK;
}

// The slot that does not run loses its header; what was uploaded is forgotten.
result_t smp_image_erase(const struct smp_request *request, struct cbor_writer *answer) {
    (void)request;
    if (assay_stage.state == STATE_TESTING) return RESULT_OF(ERROR_BUSY);
    if (!forget_upload()) return RESULT_OF(ERROR_FLASH);
    cbor_head(answer, CBOR_MAP, 0);
    return flash_erase(AREA_SECONDARY, 0, FLASH_ERASE_SIZE);
}
