// SPDX-License-Identifier: Apache-2.0
// The reference application: self-test, SMP server with identity and evidence, a console for people.
#include "bytes.h"
#include "counter.h"
#include "notes.h"
#include "patch.h"
#include "port.h"
#include "radio.h"
#include "selftest.h"
#include "serve.h"
#include "slots.h"
#include "smp_assay.h"
#include "smp_image.h"
#include "text.h"

static struct handoff handoff;
static char version[IMAGE_VERSION_TEXT];
struct assay_stage assay_stage = {
    .stage = "app", .name = handoff.app_name, .version = version, .handoff = &handoff, .health_reason = ""};

// Format, board, hash and counter, and whether a patch is for what runs here; the signature is judged by the bootloader,
// which holds the key.
static result_t judge(const struct image_source *source, struct image *image) {
    uint32_t stored;
    result_t result = image_parse(source, image);
    if (result_ok(result)) result = image_check_hash(source, image);
    if (!result_ok(result)) return result;
    if (!image->has_signature) return RESULT_OF(ERROR_BAD_SIGNATURE);
    if (!image->has_counter) return RESULT_OF(ERROR_BAD_HEADER);
    result = counter_read(source->number, &stored);
    if (!result_ok(result)) return result;
    if (image->security_counter < stored) return RESULT_OF(ERROR_DOWNGRADE);
    if (!image->is_patch) return RESULT_OK;
    return source->number == 0 ? patch_fits(image, handoff.app_hash) : RESULT_OF(ERROR_NOT_BOOTABLE);
}

// While this image is under test, the other slot holds the way back.
static result_t may_change(void) { return assay_stage.state == STATE_TESTING ? RESULT_OF(ERROR_BUSY) : RESULT_OK; }

// After the mark, not before: a counter that is raised first would refuse the way back (the bootloader raises it at the
// next boot if the power goes between the two).
static void confirmed(void) {
    if (assay_stage.state == STATE_CONFIRMED) return;
    assay_stage.state = STATE_CONFIRMED;
    for (uint32_t i = 0; i < IMAGE_COUNT; i++) {
        static struct image image;
        struct image_source source = image_in_flash(slots[i].primary, slots[i].limit);
        result_t result = image_parse(&source, &image);  // the hash, too: a rotten counter would lock all others out
        if (result_ok(result)) result = image_check_hash(&source, &image);
        if (result_ok(result)) (void)counter_raise(i, image.security_counter);
    }
    (void)counter_read(0, &handoff.security_counter);
    (void)note_write(NOTE_CONFIRMED, 0, handoff.app_hash, version);
}

static const struct smp_image_stage image_stage = {
    .judge = judge, .running = true, .may_change = may_change, .confirmed = confirmed};

const struct smp_command smp_commands[] = {
    {GROUP_OS, 0, smp_echo, smp_echo},
    {GROUP_OS, 5, 0, smp_reset},
    {GROUP_OS, 6, smp_parameters, 0},
    {GROUP_IMAGE, 0, smp_image_state, smp_image_set_state},
    {GROUP_IMAGE, 1, 0, smp_image_upload},
    {GROUP_IMAGE, 5, 0, smp_image_erase},
    {GROUP_ASSAY, 0, assay_info, 0},
    {GROUP_ASSAY, 1, 0, assay_key},
    {GROUP_ASSAY, 2, assay_certificate_read, assay_certificate_write},
    {GROUP_ASSAY, 3, assay_measure, 0},
    {GROUP_ASSAY, 4, 0, assay_evidence},
    {GROUP_ASSAY, 5, assay_health, 0},
    {GROUP_ASSAY, 6, assay_notes, 0},
    {GROUP_ASSAY, 7, assay_stats, 0},
    {0, 0, 0, 0},
};

static void say_version(void) {
    static const char *const states[] = {[HEALTH_RUNNING] = "running", [HEALTH_PASS] = "pass", [HEALTH_FAIL] = "fail"};
    char buffer[256];
    struct text line = text_start(buffer, sizeof buffer);
    text_add(&line, "ASSAY-APP 1 name=");
    text_add(&line, assay_stage.name);
    text_add(&line, " version=");
    text_add(&line, version);
    text_add(&line, " board=" BOARD_NAME " hash=");
    text_hex(&line, handoff.app_hash, SHA256_SIZE);
    text_add(&line, " state=");
    text_add(&line, boot_state_text(assay_stage.state));
    text_add(&line, " selftest=");
    text_add(&line, states[assay_stage.health]);
    text_add(&line, "\r\n");
    port_uart_write(buffer, line.used);
}

static void say(const char *text) { port_uart_write(text, text_length(text, 256)); }

static bool is(const char *line, const char *word) {
    uint32_t length = text_length(word, 32);
    return text_length(line, 32) == length && memcmp(line, word, length) == 0;
}

// At the start only if there is something to tell.
static void say_radio(bool asked) {
    char buffer[192];
    struct text line = text_start(buffer, sizeof buffer);
    if (radio_say(&line) || asked) port_uart_write(buffer, line.used);
}

static void console(const char *line) {
    if (is(line, "version")) say_version();
    else if (is(line, "radio")) say_radio(true);
    else if (is(line, "help")) say("ASSAY-APP 1 commands: help radio version\r\n");
    else if (line[0] != '\0') say("ASSAY-APP 1 unknown command; help lists what there is\r\n");
}

static void say_failed(const struct selftest_result *result) {
    char buffer[128];
    struct text line = text_start(buffer, sizeof buffer);
    text_add(&line, "ASSAY-APP 1 selftest failed code=");
    text_number(&line, result->code);
    text_add(&line, " reason=");
    text_add(&line, result->reason);
    text_add(&line, "\r\n");
    port_uart_write(buffer, line.used);
}

// An image under test that fails goes at once; a confirmed one stays up and says so.
static void test_myself(void) {
    struct selftest_result result = selftest_run(&handoff);
    assay_stage.health = result.code == 0 ? HEALTH_PASS : HEALTH_FAIL;
    assay_stage.health_code = result.code;
    assay_stage.health_reason = result.reason;
    if (result.code == 0) return;
    (void)note_write(NOTE_SELFTEST_FAILED, result.code, handoff.app_hash, result.reason);
    say_failed(&result);
    port_uart_flush();
    if (assay_stage.state == STATE_TESTING) port_reset();
}

int main(void) {
    port_init();
    if (!result_ok(handoff_read(&handoff, FILLED_BY_BOOT))) memset(&handoff, 0, sizeof handoff);
    assay_stage.state = handoff.state == STATE_CONFIRMED ? STATE_CONFIRMED : STATE_TESTING;
    image_version_text(&handoff.app_version, version);
    say_version();
#ifdef APP_HANG
    for (;;) {  // a build for tests: an image that comes up and then answers nothing
    }
#endif
    say_radio(false);
    test_myself();
    say_version();  // the last line of the start: who waits for it may speak
    smp_image_init(&image_stage);
    serve(console, 0);
    port_reset();
}
