/* SPDX-License-Identifier: Apache-2.0 */
/* A client's core between a test and frames made by hand; time stands but for `now_ms`. */
#ifndef MCP_TESTS_CLIENT_CORE_FIXTURE_H
#define MCP_TESTS_CLIENT_CORE_FIXTURE_H

#include <stdint.h>

#include "client/core.h"

#define GENERATE "{\"model\":\"m\",\"prompt\":\"a\"}"
#define INHERITS "{\"prompt\":\"a\"}"
#define PUSH "{\"model\":\"m\",\"mcp\":{\"op\":\"push\"}}"
#define LIST "{\"mcp\":{\"op\":\"list\"}}"

/* A GENERATE of core_set_up_offering as it is sent: with its key. */
#define KEYED(rest) "{\"mcp\":{\"auth\":\"key\"}," rest
#define SENT_GENERATE KEYED("\"model\":\"m\",\"prompt\":\"a\"}")
/* The end of what was cancelled on this side. */
#define CANCELLED_HERE                                                                             \
    "{\"error\":\"cancelled by the client\",\"code\":\"cancelled\",\"retryable\":false,"           \
    "\"done\":true}"

enum {
    ALL_FEATURES = WIRE_SINCE_ACK | WIRE_SINCE_CANCEL | WIRE_SINCE_CREDIT | WIRE_SINCE_CRC32C |
                   WIRE_SINCE_GOAWAY | WIRE_SINCE_CHUNK
};

/* A small window, and a heartbeat each second. */
#define WELCOME_ALL                                                                                \
    "{\"version\":1,\"codec\":\"json\",\"features\":[\"ack\",\"cancel\",\"credit\",\"crc32c\","    \
    "\"goaway\",\"chunk\"],\"heartbeat_ms\":1000,\"max_frame\":16777216,\"window\":1000,"          \
    "\"max_sessions\":8,\"server\":\"s/1\",\"connection\":42}"
#define WELCOME_OF(features) "{\"features\":[" features "]}"

struct core_fixture {
    struct client_core core;
    struct mcp_part part;
    struct buf log; /* of parts */
    uint64_t now_ms;
};

/* The base profile. */
void core_set_up(struct core_fixture *f, unsigned retries);
/* With the key "key". */
void core_set_up_offering(struct core_fixture *f, uint32_t features, unsigned retries);
void core_set_up_with(struct core_fixture *f, const struct client_config *config);
void core_tear_down(struct core_fixture *f);

/* The base profile: READY at once. */
void core_connect_now(struct core_fixture *f);
/* Else: HELLO has left, and this WELCOME came. */
void core_welcome(struct core_fixture *f, const char *json);
void core_lose(struct core_fixture *f, int code);
/* The back-off runs out: 2^exponent s + U(0,1) s. */
void core_wait_for_retry(struct core_fixture *f, unsigned exponent);

int core_request(struct core_fixture *f, uint32_t session, const char *json);
/* One of `len` bytes, with the key: as it is sent. For free(). */
char *core_long_request(size_t len);
int core_request_long(struct core_fixture *f, uint32_t session, size_t len);
void core_cancel(struct core_fixture *f, uint32_t session, int want);

/* A frame as the server sends it, with its CRC where that was agreed on. */
void core_append(const struct core_fixture *f, struct buf *out, unsigned opcode, uint32_t session,
                 struct slice payload);
/* It arrives. */
void core_frame(struct core_fixture *f, unsigned opcode, uint32_t session, struct slice payload);
void core_respond(struct core_fixture *f, uint32_t session, const char *json);
void core_feed(struct core_fixture *f, struct slice in);
/* The parts that need no input are seen. */
void core_collect(struct core_fixture *f);

/* The part at hand counts as seen: "5 data last code; " in the log; "5 [length]; " a long one. */
void core_see(struct core_fixture *f);
void core_expect_log(struct core_fixture *f, const char *want);
/* What is queued for the socket, as "opcode session payload; ", and it is written. Of CHUNK "[N]",
 * its length; of CREDIT its number; of HELLO, HEARTBEAT and CANCEL nothing. */
void core_expect_sent(struct core_fixture *f, const char *want);

#endif
