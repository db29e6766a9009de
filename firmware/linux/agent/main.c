// SPDX-License-Identifier: Apache-2.0
// The agent of a Linux module. `assay-unit boot`, called by init at each boot: measure what was started, test the unit,
// keep or give up. `assay-unit serve`, the SSH subsystem `assay`: SMP on standard input and output, as an app of the
// microcontroller boards answers on its UART.
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/reboot.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "bytes.h"
#include "counter.h"
#include "linux_unit.h"
#include "notes.h"
#include "port.h"
#include "selftest.h"
#include "serve.h"
#include "slots.h"
#include "smp_assay.h"
#include "smp_image.h"

#define DISK "/dev/vda"
#define STATE_FILE RUN_FOLDER "/state"  // of this boot, written by `boot` and by a confirmation
#define LOCK_FILE RUN_FOLDER "/serve.lock"
#define LOCK_TRIES 100u  // of 50 ms each, for an agent whose client is gone to end

struct boot_result {
    struct handoff handoff;  // as found at this boot
    enum boot_state now;     // changes with a confirmation
    struct selftest_result_kept {
        uint32_t code;
        char reason[NOTE_REASON_MAX + 1];
    } selftest;
};

static struct boot_result of_this_boot;
static char version[IMAGE_VERSION_TEXT];
struct assay_stage assay_stage = {.stage = "app", .name = of_this_boot.handoff.app_name, .version = version,
                                  .handoff = &of_this_boot.handoff, .health_reason = ""};

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

static void measure_boot(struct handoff *handoff) {
    static struct image image;
    struct image_source source = image_in_flash(AREA_BOOT, AREA_BOOT_SIZE);
    result_t result = image_parse(&source, &image);
    if (!result_ok(result) || !result_ok(image_check_hash(&source, &image))) return;
    memcpy(handoff->boot_hash, image.hash, sizeof handoff->boot_hash);
    memcpy(handoff->boot_name, image.name, sizeof handoff->boot_name);
    handoff->boot_version = image.version;
}

static void measure_app(struct handoff *handoff) {
    static struct image image;
    struct image_source source = image_in_flash(AREA_PRIMARY, slots[0].limit);
    if (!result_ok(image_parse(&source, &image)) || !result_ok(image_check_hash(&source, &image))) return;
    memcpy(handoff->app_hash, image.hash, sizeof handoff->app_hash);
    memcpy(handoff->app_name, image.name, sizeof handoff->app_name);
    handoff->app_version = image.version;
}

// The boot chooser's variables say what this boot is.
static void judge_boot(struct handoff *handoff) {
    char test[16];
    linux_boot_variable("BOOT_TEST", test, sizeof test);
    handoff->state = test[0] == linux_slot() ? STATE_TESTING : STATE_CONFIRMED;
    handoff->event = test[0] == linux_other_slot() ? EVENT_REVERTED : EVENT_NONE;
    if (handoff->state == STATE_TESTING) handoff->event = EVENT_SWAPPED;
}

static result_t raise_counter(void) {
    static struct image image;
    struct image_source source = image_in_flash(AREA_PRIMARY, slots[0].limit);
    result_t result = image_parse(&source, &image);
    if (result_ok(result)) result = image_check_hash(&source, &image);
    return result_ok(result) ? counter_raise(0, image.security_counter) : result;
}

static bool save(void) { return linux_write_file(STATE_FILE, &of_this_boot, sizeof of_this_boot); }

// The mark first: a counter that rises first would refuse the way back.
result_t linux_keep_running(void) {
    char script[96];
    bool was_testing = of_this_boot.now == STATE_TESTING;
    snprintf(script, sizeof script, "BOOT_%c_LEFT=3\nBOOT_TEST=\n", linux_slot());
    if (!linux_set_boot_variables(script)) return RESULT_OF(ERROR_FLASH);
    of_this_boot.now = STATE_CONFIRMED;
    (void)raise_counter();
    (void)counter_read(0, &of_this_boot.handoff.security_counter);
    if (was_testing) (void)note_write(NOTE_CONFIRMED, 0, of_this_boot.handoff.app_hash, version);
    return save() ? RESULT_OK : RESULT_OF(ERROR_FLASH);
}

// The slot under test was not kept: the one that runs is first again, and it is noted about which image that is.
static void note_revert(void) {
    static struct image image;
    struct image_source source = image_in_flash(AREA_SECONDARY, slots[0].limit);
    char script[96];
    bool parsed = result_ok(image_parse(&source, &image));
    (void)note_write(NOTE_REVERTED, 0, parsed ? image.hash : 0, "not confirmed");
    snprintf(script, sizeof script, "BOOT_ORDER=%c %c\nBOOT_TEST=\n", linux_slot(), linux_other_slot());
    (void)linux_set_boot_variables(script);
}

static int boot(void) {
    struct handoff *handoff = &of_this_boot.handoff;
    memset(&of_this_boot, 0, sizeof of_this_boot);
    judge_boot(handoff);
    of_this_boot.now = handoff->state;
    measure_boot(handoff);
    measure_app(handoff);
    handoff->boots = linux_kernel_number("assay.boots=");
    (void)counter_read(0, &handoff->security_counter);
    handoff_write(handoff, FILLED_BY_BOOT);
    image_version_text(&handoff->app_version, version);
    struct selftest_result result = selftest_run(handoff);
    of_this_boot.selftest.code = result.code;
    snprintf(of_this_boot.selftest.reason, sizeof of_this_boot.selftest.reason, "%s", result.reason);
    if (!save()) return 2;
    printf("ASSAY-APP 1 name=%s version=%s slot=%c state=%s selftest=%s\n", handoff->app_name, version, linux_slot(),
           boot_state_text(handoff->state), result.code == 0 ? "pass" : result.reason);
    if (result.code != 0) (void)note_write(NOTE_SELFTEST_FAILED, result.code, handoff->app_hash, result.reason);
    if (result.code != 0 && handoff->state == STATE_TESTING) return 3;  // init resets: the other slot is next
    if (handoff->event == EVENT_REVERTED) note_revert();
    if (handoff->event == EVENT_SWAPPED) (void)note_write(NOTE_SWAPPED, 0, handoff->app_hash, version);
    return handoff->state == STATE_CONFIRMED && !result_ok(linux_keep_running()) ? 2 : 0;
}

// One client at a time. An agent whose client is gone, and whose sshd does not know it yet, makes room.
static bool sole_agent(void) {
    char pid[16] = "";
    int lock = open(LOCK_FILE, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    for (uint32_t i = 0; lock >= 0 && i < LOCK_TRIES; i++) {
        if (flock(lock, LOCK_EX | LOCK_NB) == 0) {
            int length = snprintf(pid, sizeof pid, "%d", (int)getpid());
            return ftruncate(lock, 0) == 0 && pwrite(lock, pid, (size_t)length, 0) == length;
        }
        ssize_t count = pread(lock, pid, sizeof pid - 1, 0);
        int other = 0;
        if (count > 0 && sscanf(pid, "%d", &other) == 1 && other > 1) kill(other, SIGTERM);
        nanosleep(&(struct timespec){.tv_nsec = 50000000}, 0);
    }
    return false;
}

static void no_line(const char *line) { (void)line; }

// Outlives the session: sshd and the client end in order first.
static void reset_soon(void) {
    pid_t child = fork();
    if (child != 0) return;
    setsid();
    for (int fd = 0; fd < 3; fd++) close(fd);
    sync();
    nanosleep(&(struct timespec){.tv_nsec = 300000000}, 0);
    reboot(RB_AUTOBOOT);
    _exit(1);
}

static int serve_client(void) {
    if (!sole_agent() || !linux_read_file(STATE_FILE, &of_this_boot, sizeof of_this_boot)) return 2;
    *linux_handoff() = of_this_boot.handoff;
    image_version_text(&of_this_boot.handoff.app_version, version);
    assay_stage.state = of_this_boot.now == STATE_CONFIRMED ? STATE_CONFIRMED : STATE_TESTING;
    assay_stage.health = of_this_boot.selftest.code == 0 ? HEALTH_PASS : HEALTH_FAIL;
    assay_stage.health_code = of_this_boot.selftest.code;
    assay_stage.health_reason = of_this_boot.selftest.reason;
    serve(no_line, 0);
    if (!linux_input_ended()) reset_soon();
    return 0;
}

int main(int count, char **arguments) {
    signal(SIGPIPE, SIG_IGN);
    (void)mkdir(RUN_FOLDER, 0700);
    if (!linux_port_open(DISK)) {
        fprintf(stderr, "assay-unit: %s: %s\n", DISK, strerror(errno));
        return 2;
    }
    if (count == 2 && strcmp(arguments[1], "boot") == 0) return boot();
    if (count == 2 && strcmp(arguments[1], "serve") == 0) return serve_client();
    fprintf(stderr, "usage: assay-unit boot|serve\n");
    return 2;
}
