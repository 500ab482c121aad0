/* SPDX-License-Identifier: Apache-2.0 */
#include "same.h"

#include <stdio.h>
#include <stdlib.h>

void must_be_same(struct buf *whole, struct buf *cut)
{
    if (!slice_eq(buf_slice(whole), buf_slice(cut))) {
        (void)fprintf(stderr, "whole:\n%.*s\ncut:\n%.*s\n", SLICE_ARG(buf_slice(whole)),
                      SLICE_ARG(buf_slice(cut)));
        abort();
    }
    buf_fini(whole);
    buf_fini(cut);
}
