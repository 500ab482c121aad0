/* SPDX-License-Identifier: Apache-2.0 */
/* One field of a multipart/form-data body (RFC 7578), for the model's name in uploads of audio.
 * Sans-IO; slices borrow. */
#ifndef MCP_CODEC_MULTIPART_H
#define MCP_CODEC_MULTIPART_H

#include <stdbool.h>

#include "base/slice.h"

/* The boundary of a Content-Type header's value; empty where it is no multipart/form-data. */
struct slice multipart_boundary(struct slice content_type);
/* The content of the first part whose Content-Disposition names `field` (no file name). False:
 * there is none, or the body is not well-formed up to there. */
bool multipart_find(struct slice body, struct slice boundary, struct slice field,
                    struct slice *value);

#endif
