/* SPDX-License-Identifier: Apache-2.0 */
/* A PKCS#11 library that is SoftHSM with faults, for tests: files in the folder FAULTY_DIR say which.
 *
 * hang: C_Sign does not return. hang-login: nor does C_Login. lost: the next C_Sign answers CKR_SESSION_HANDLE_INVALID, once. always-lost: each does.
 * pin-locked: the token says that its PIN is locked. login-locked: each C_Login answers CKR_PIN_LOCKED.
 * final-try: the token says that the next wrong PIN locks it. hardware: its slot says that it is a device. Each C_Login adds a byte to the file "logins", each
 * C_OpenSession one to "sessions".
 */
#include <dlfcn.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define FUNCTIONS 68        /* PKCS#11 2.40, CK_FUNCTION_LIST: a version, then so many pointers */
#define GET_FUNCTION_LIST 3
#define GET_SLOT_INFO 5
#define GET_TOKEN_INFO 6
#define OPEN_SESSION 12
#define LOGIN 18
#define SIGN 43
#define FLAGS_OFFSET 96     /* CK_TOKEN_INFO: label 32, manufacturer 32, model 16, serial number 16;
                               CK_SLOT_INFO: description 64, manufacturer 32 */
#define FINAL_TRY 0x00020000UL
#define PIN_IS_LOCKED 0x00040000UL
#define PIN_LOCKED 0xA4UL
#define HARDWARE_SLOT 0x4UL
#define SESSION_HANDLE_INVALID 0xB3UL

typedef unsigned long (*any)(unsigned long, unsigned long, void *, void *, void *);

struct list {
    unsigned char version[8];
    void *at[FUNCTIONS];
};

static struct list faulty;
static struct list *real;

static const char *path(const char *name)
{
    static char text[4096];
    const char *folder = getenv("FAULTY_DIR");
    snprintf(text, sizeof text, "%s/%s", folder ? folder : "/nonexistent", name);
    return text;
}

static void count(const char *name)
{
    int file = open(path(name), O_WRONLY | O_CREAT | O_APPEND, 0600);
    if (file >= 0) {
        if (write(file, "x", 1) != 1) {
            abort();
        }
        close(file);
    }
}

static unsigned long login(unsigned long session, unsigned long user, void *pin, void *length, void *none)
{
    count("logins");
    while (access(path("hang-login"), F_OK) == 0) {
        usleep(10000);
    }
    if (access(path("login-locked"), F_OK) == 0) {
        return PIN_LOCKED;
    }
    return ((any)real->at[LOGIN])(session, user, pin, length, none);
}

static unsigned long open_session(unsigned long slot, unsigned long flags, void *a, void *b, void *handle)
{
    count("sessions");
    return ((any)real->at[OPEN_SESSION])(slot, flags, a, b, handle);
}

static unsigned long info_with(int function, const char *fault, unsigned long flag, unsigned long slot,
                               unsigned char *info)
{
    unsigned long answer = ((unsigned long (*)(unsigned long, unsigned char *))real->at[function])(slot, info);
    if (answer == 0 && access(path(fault), F_OK) == 0) {
        unsigned long flags;
        memcpy(&flags, info + FLAGS_OFFSET, sizeof flags);
        flags |= flag;
        memcpy(info + FLAGS_OFFSET, &flags, sizeof flags);
    }
    return answer;
}

static unsigned long slot_info(unsigned long slot, unsigned char *info)
{
    return info_with(GET_SLOT_INFO, "hardware", HARDWARE_SLOT, slot, info);
}

static unsigned long token_info(unsigned long slot, unsigned char *info)
{
    if (access(path("pin-locked"), F_OK) == 0) {
        return info_with(GET_TOKEN_INFO, "pin-locked", PIN_IS_LOCKED, slot, info);
    }
    return info_with(GET_TOKEN_INFO, "final-try", FINAL_TRY, slot, info);
}

static unsigned long sign(unsigned long session, unsigned long data, void *length, void *out, void *out_length)
{
    count("signing");
    while (access(path("hang"), F_OK) == 0) {
        usleep(10000);
    }
    if (access(path("always-lost"), F_OK) == 0 || unlink(path("lost")) == 0) {
        return SESSION_HANDLE_INVALID;
    }
    return ((any)real->at[SIGN])(session, data, length, out, out_length);
}

unsigned long C_GetFunctionList(void **list);

unsigned long C_GetFunctionList(void **list)
{
    void *library = dlopen(getenv("FAULTY_REAL"), RTLD_NOW);
    void *entry = library ? dlsym(library, "C_GetFunctionList") : NULL;
    unsigned long answer = 5; /* CKR_GENERAL_ERROR */
    if (entry) {
        answer = ((unsigned long (*)(void **))entry)((void **)&real);
    }
    if (answer == 0) {
        memcpy(&faulty, real, sizeof faulty);
        faulty.at[GET_FUNCTION_LIST] = (void *)C_GetFunctionList;
        faulty.at[GET_SLOT_INFO] = (void *)slot_info;
        faulty.at[GET_TOKEN_INFO] = (void *)token_info;
        faulty.at[OPEN_SESSION] = (void *)open_session;
        faulty.at[LOGIN] = (void *)login;
        faulty.at[SIGN] = (void *)sign;
        *list = &faulty;
    }
    return answer;
}
