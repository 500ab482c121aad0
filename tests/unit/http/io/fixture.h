/* SPDX-License-Identifier: Apache-2.0 */
/* A loop, a raw socket at the other end, and waiting for conditions. Teardown fails the
 * test when a descriptor was left open. Nothing here allocates between peer_init and peer_fini, so
 * that failing allocations hit the code under test. */
#ifndef MCP_TESTS_HTTP_IO_FIXTURE_H
#define MCP_TESTS_HTTP_IO_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/buf.h"
#include "base/counter.h"
#include "loop_fixture.h"

extern struct counters counters; /* zeroed for each test */

int fixture_setup(void **state);
int fixture_teardown(void **state);
#define IO_TEST(f) cmocka_unit_test_setup_teardown(f, fixture_setup, fixture_teardown)

enum { PEER_BYTES_MAX = 8 << 20 };

struct peer {
    int fd;
    char *in; /* received so far, terminated */
    size_t in_len;
    bool eof;
    int error; /* that ended reading */
};

void peer_init(struct peer *p, int fd);
/* Closes; with RST if `reset`. */
void peer_close(struct peer *p, bool reset);
void peer_fini(struct peer *p);
/* Sends all of it, running the loop as needed; gives up where the other end has closed. */
void peer_send(struct peer *p, struct slice bytes);
void peer_half_close(struct peer *p);
/* Until the text has come. */
void peer_wait_text(struct peer *p, const char *text);
void peer_wait_bytes(struct peer *p, size_t count);
/* Until FIN or an error has come. */
void peer_wait_end(struct peer *p);
/* What came, without Date lines (which must be dates); forgotten afterwards. Valid until the next
 * call. */
const char *peer_take_text(struct peer *p);
/* Reads what is there. */
void peer_pull(struct peer *p);

#endif
