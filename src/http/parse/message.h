/* SPDX-License-Identifier: Apache-2.0 */
/* HTTP/1.0 and 1.1 messages, pulled event by event out of bytes as they come; llhttp (strict) does
 * the parsing, what it leaves to its user is refused here (RFC 9112: two Hosts, other transfer
 * codings, Transfer-Encoding in 1.0...) or read (methods that it does not know). Sans-IO. The head
 * is collected in the parser's own memory and stays valid until the first byte of the next message
 * is fed; body slices borrow the input. One parser serves the messages of one connection, one after
 * the other. */
#ifndef MCP_HTTP_PARSE_MESSAGE_H
#define MCP_HTTP_PARSE_MESSAGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/check.h"
#include "base/err.h"
#include "base/slice.h"

/* HTTP_HEAD_BYTES_MAX also bounds what stands between two body bytes (chunk extensions, trailers).
 */
enum { HTTP_HEAD_BYTES_MAX = 32 * 1024, HTTP_HEADERS_MAX = 128 };

struct http_header {
    struct slice name; /* as it came */
    struct slice value;
};

struct http_head {
    struct slice method; /* requests */
    struct slice target;
    struct slice host; /* requests: whom they are for; ptr NULL: not said */
    unsigned status;   /* responses */
    struct slice reason;
    unsigned minor; /* HTTP/1.minor */
    const struct http_header *headers;
    size_t header_count;
    uint64_t names;  /* set by the parser: a bit for each name (http_name_bit); 0: not known */
    bool keep_alive; /* the connection may serve another message */
    bool chunked;
    bool has_length;
    uint64_t content_length;
    bool has_body;        /* a body follows (of unknown length for a response that ends with the
                             connection) */
    bool expect_continue; /* Expect: 100-continue */
};

/* The value of the first header of that name (without case); ptr NULL: absent. */
struct slice http_head_find(const struct http_head *head, struct slice name);
/* Whether a comma-separated list header holds `token` (without case). */
bool http_head_has_token(const struct http_head *head, struct slice name, struct slice token);
/* The media type of Content-Type without its parameters; empty: none. */
struct slice http_head_type(const struct http_head *head);
/* Whether it is that one. */
bool http_head_has_type(const struct http_head *head, struct slice type);
/* Hop-by-hop: the fixed ones of RFC 9110 7.6.1 and those that Connection names. */
bool http_header_is_hop_by_hop(const struct http_head *head, struct slice name);

/* Appends it as a line. False: out of memory. */
bool http_header_append(struct buf *b, struct slice name, struct slice value);

enum http_role { HTTP_PARSE_REQUESTS, HTTP_PARSE_RESPONSES };

enum http_event_kind {
    HTTP_EV_MORE, /* everything was consumed, nothing to say yet */
    HTTP_EV_HEAD, /* `head` */
    HTTP_EV_BODY, /* `body`: never empty */
    HTTP_EV_END   /* the message is complete; what follows in the input belongs to the next one */
};

struct http_event {
    enum http_event_kind kind;
    const struct http_head *head;
    struct slice body;
};

struct http_parser;

/* Which of 64 bits stands for a header's name, whatever its case: a head without that bit does not
 * have the header. */
static inline uint64_t http_name_bit(struct slice name)
{
    return name.len == 0
               ? 0
               : (uint64_t)1 << ((name.len * 7 + ((unsigned char)name.ptr[0] | 0x20U)) & 63);
}

/* NULL: out of memory. */
struct http_parser *http_parser_new(enum http_role role);
void http_parser_free(struct http_parser **p);
/* Consumes from `in` up to and including the next event; returns bytes consumed, or
 * MCP_EBAD_REQUEST, MCP_ETOO_LARGE (head limits; answer 431), MCP_EUNSUPPORTED_VERSION (505),
 * MCP_EUNSUPPORTED_OP (a transfer coding; 501), MCP_ENOMEM with a text in `e`; of a response only
 * the first two and the last. An error repeats. Call again until HTTP_EV_MORE, with the rest of the
 * input even where that is empty: a message that ends with its head gives HEAD, then END, both
 * without needing a further byte. 1xx responses are skipped. */
MUST_CHECK ptrdiff_t http_parser_feed(struct http_parser *p, struct slice in, struct http_event *ev,
                                      struct err *e);
/* The connection ended: 0 with HTTP_EV_END where that ends the message (a response without length)
 * or with HTTP_EV_MORE between messages, else MCP_ECLOSED. */
MUST_CHECK int http_parser_eof(struct http_parser *p, struct http_event *ev);
/* The response that comes answers a HEAD: it has no body whatever its headers say. Call before its
 * head. */
void http_parser_no_body(struct http_parser *p);
/* Bytes that the chunk of a request's body which has begun says are still to come. */
uint64_t http_parser_announced(const struct http_parser *p);
/* Between messages: gives back the memory of the last head, which ends with that. */
void http_parser_release(struct http_parser *p);
/* Nothing of a message has been seen since the last END. */
bool http_parser_idle(const struct http_parser *p);

#endif
