/* SPDX-License-Identifier: Apache-2.0 */
/* A face reduced to what the exchange's tests need: asks, writes down what it is told, acts in one
 * of the callbacks. */
#ifndef MCP_TESTS_EXCHANGE_ASKER_H
#define MCP_TESTS_EXCHANGE_ASKER_H

#include "gateway/exchange.h"
#include "gateway/gateway.h"
#include "node_peer.h"

enum { ASKER_TEXT_BYTES = 4096 };

struct asker {
    struct exchange *x; /* NULL once it is gone */
    /* 'a'dmitted, 'h'ead, 'b'ytes, 'p'art, 'l'ast part, 'd'rained, 'e'nded; runs of b and of p
     * count once */
    char told[64];
    unsigned status;
    char text[ASKER_TEXT_BYTES]; /* bytes as they are; parts with a newline behind each */
    size_t len;
    int code; /* how it ended: MCP_OK or an error */
    char error[256];
    char node_body[256];
    char act_in; /* in this callback: */
    char act;    /* 'c'ancel, 'p'ause, 'a'bort */
};

extern struct sub sub;
extern struct body_memory bodies;
extern struct config config;

int gateway_setup(void **state);
int gateway_teardown(void **state); /* asserts that nothing is left running or held */
#define EXCHANGE_TEST(f) cmocka_unit_test_setup_teardown(f, gateway_setup, gateway_teardown)

/* An Ollama node that lists `model`, up. Its /api/version and /api/tags answer by themselves; other
 * paths are the test's (see asked_on). */
struct node *ollama_node(struct peer *p, const char *model);
/* The same for an OpenAI node. */
struct node *openai_node(struct peer *p, const char *model);

/* Made as the MCP face does, from the payload; not started. NULL in a->x: out of memory. */
void asker_make(struct asker *a, const char *json);
/* Made and started. */
void ask(struct asker *a, const char *json);
/* As an HTTP face does, for a path that any node serves as it is. */
void ask_relay(struct asker *a, const char *path, const char *json, enum stream_end end);
void ask_upload(struct asker *a, const char *path, int64_t length);
/* Waits until told so, exactly. */
void asker_wait(struct asker *a, const char *told);
void assert_ended(const struct asker *a, int code, const char *error);

/* Waits until the peer was asked for `path`; the connection to answer on. */
size_t asked_on(struct peer *p, const char *path);
void answer(struct peer *p, size_t conn, const char *bytes);
void answer_json(struct peer *p, size_t conn, const char *status, const char *body);
/* One chunk. */
void answer_chunk(struct peer *p, size_t conn, const char *text);

#define NDJSON_HEAD                                                                                \
    "HTTP/1.1 200 OK\r\nContent-Type: application/x-ndjson\r\nTransfer-Encoding: chunked\r\n\r\n"
#define SSE_HEAD                                                                                   \
    "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
#define CHUNKS_END "0\r\n\r\n"

#endif
