// SPDX-License-Identifier: Apache-2.0
// The bootloader: choose an image, verify it twice, start it; or serve recovery over the UART until there is one.
#include "boot.h"
#include "bytes.h"
#include "image_pubkey.h"
#include "notes.h"
#include "port.h"
#include "serve.h"
#include "smp_assay.h"
#include "smp_image.h"
#include "swap.h"
#include "text.h"

#define BANNER_MS 1000u

static struct boot_choice choice;
static result_t why;
static volatile result_t decisions[2];  // as they fell, the first and the second
static char version[IMAGE_VERSION_TEXT];
struct assay_stage assay_stage = {.stage = "boot", .name = MODULE_NAME, .version = version, .health_reason = ""};

static result_t judge(const struct image_source *source, struct image *image) {
    return boot_verify(source, image_pubkey, image);
}

static const struct smp_image_stage image_stage = {
    .judge = judge, .running = false, .may_change = swap_abandon};

const struct smp_command smp_commands[] = {
    {GROUP_OS, 0, smp_echo, smp_echo},
    {GROUP_OS, 5, 0, smp_reset},
    {GROUP_OS, 6, smp_parameters, 0},
    {GROUP_IMAGE, 0, smp_image_state, smp_image_set_state},
    {GROUP_IMAGE, 1, 0, smp_image_upload},
    {GROUP_IMAGE, 5, 0, smp_image_erase},
    {GROUP_ASSAY, 0, assay_info, 0},
    {GROUP_ASSAY, 3, assay_measure, 0},
    {GROUP_ASSAY, 6, assay_notes, 0},
    {0, 0, 0, 0},
};

// The address is made from both decisions: whoever comes here past one of them, by a call with a wrong bit, say, goes
// where neither memory nor a device is, since a failure and nothing at all are far from RESULT_OK.
static _Noreturn __attribute__((noinline)) void leave(void) {
    if (choice.state == STATE_TESTING) port_watchdog_start();
    port_jump(RAM_APP_BASE + (decisions[0] ^ RESULT_OK) + (decisions[1] ^ RESULT_OK), IMAGE_HEADER_SIZE);
}

static void start(struct handoff *handoff) {
    memcpy(handoff->app_hash, choice.image.hash, sizeof handoff->app_hash);
    memcpy(handoff->app_name, choice.image.name, sizeof handoff->app_name);
    handoff->app_version = choice.image.version;
    handoff->state = (uint8_t)choice.state;
    handoff->event = (uint8_t)choice.event;
    handoff->security_counter = choice.security_counter;
    handoff_write(handoff, FILLED_BY_BOOT);
    handoff_write_image(&choice.radio);
    decisions[1] = boot_verify_again(image_pubkey, &choice);
    if (result_ok(decisions[1])) leave();  // else recovery: something changed it in RAM
}

// Says every second that recovery waits, until a client has spoken.
static void announce(bool heard) {
    static uint32_t last;
    char buffer[160];
    if (heard || (last != 0 && port_millis() - last < BANNER_MS)) return;
    last = port_millis() | 1u;
    struct text line = text_start(buffer, sizeof buffer);
    text_add(&line, "ASSAY-BOOT 1 recovery board=" BOARD_NAME " version=");
    text_add(&line, version);
    text_add(&line, " reason=");
    text_add(&line, result_word(result_error(why)));
    text_add(&line, "\r\n");
    port_uart_write(buffer, line.used);
}

int main(void) {
    struct handoff handoff;
    port_init();
    port_forbid_execution(RAM_APP_BASE, RAM_APP_SIZE);
    port_forbid_writing_code();
    result_t handed = handoff_read(&handoff, FILLED_BY_ROM);
    if (!result_ok(handed)) memset(&handoff, 0, sizeof handoff);
    image_version_text(&handoff.boot_version, version);
    why = boot_choose(image_pubkey, &choice);
    decisions[0] = why;
    if (result_ok(why)) start(&handoff);
    (void)note_write(NOTE_RECOVERY, result_error(why), choice.image.hash, result_word(result_error(why)));
    smp_image_init(&image_stage);
    serve(0, announce);
    port_reset();
}
