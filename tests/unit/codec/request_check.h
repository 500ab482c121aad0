/* SPDX-License-Identifier: Apache-2.0 */
/* Shared by the tests of requests. */
#ifndef MCP_TESTS_UNIT_CODEC_REQUEST_CHECK_H
#define MCP_TESTS_UNIT_CODEC_REQUEST_CHECK_H

#include "codec/request.h"

/* The verdict of request_read, whose error must come with a text. */
int request_check_read(struct slice body, enum request_source source);
/* Fails the test with `body` in its message. */
void request_check_code(struct slice body, int got, int wanted);

#endif
