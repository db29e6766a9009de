// SPDX-License-Identifier: Apache-2.0
// The security counter of each image, by its number: images with a lower one are refused. It is raised only after an
// image was confirmed, since a counter that was raised at the swap would refuse the way back.
#ifndef ASSAY_COUNTER_H
#define ASSAY_COUNTER_H

#include "result.h"

// 0 on a chip that has none yet.
result_t counter_read(uint32_t image, uint32_t *value);

// Never lowers; the same value again writes nothing.
result_t counter_raise(uint32_t image, uint32_t value);

#endif
