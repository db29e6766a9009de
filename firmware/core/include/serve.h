// SPDX-License-Identifier: Apache-2.0
// The loop that a stage spends its life in: receive, answer, sleep.
#ifndef ASSAY_SERVE_H
#define ASSAY_SERVE_H

#include <stdbool.h>
#include <stdint.h>

// Handles a line from a person. May be null.
typedef void (*serve_line)(const char *line);

// Called when nothing was received; `heard` is true once a packet came. May be null.
typedef void (*serve_idle)(bool heard);

// Returns when a reset was requested and its answer has left.
void serve(serve_line line, serve_idle idle);

#endif
