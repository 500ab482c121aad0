/* SPDX-License-Identifier: Apache-2.0 */
/* Every case runs whole, byte by byte and cut at every point. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "alloc_fault.h"
#include "trace.h"

struct message_case {
    const char *name;
    struct slice in;
    const char *expected; /* the trace; of error cases only what it begins with */
};

static void check_cuts(enum http_role role, bool no_body, const char *name, struct slice in,
                       const char *expected, bool prefix)
{
    struct buf whole = {0};
    struct buf cut = {0};

    http_trace(&whole, role, no_body, in, (struct cuts){in.len, 0});
    if (expected != NULL) {
        struct slice seen = buf_slice(&whole);

        if (prefix) {
            seen = slice_first(seen, strlen(expected));
        }
        if (!slice_eq(seen, slice_str(expected))) {
            print_error("%s\nexpected: %s\ngot:      %.*s\n", name, expected,
                        SLICE_ARG(buf_slice(&whole)));
        }
        assert_true(slice_eq(seen, slice_str(expected)));
    }
    for (size_t at = 0; at <= in.len; at++) {
        /* at 0: byte by byte */
        buf_clear(&cut);
        http_trace(&cut, role, no_body, in, at == 0 ? (struct cuts){1, 1} : (struct cuts){at, 0});
        if (!slice_eq(buf_slice(&whole), buf_slice(&cut))) {
            print_error("%s, cut at %zu:\n%.*s\nwhole:\n%.*s\n", name, at,
                        SLICE_ARG(buf_slice(&cut)), SLICE_ARG(buf_slice(&whole)));
        }
        assert_true(slice_eq(buf_slice(&whole), buf_slice(&cut)));
    }
    buf_fini(&whole);
    buf_fini(&cut);
}

static const struct message_case requests[] = {
    {"get", SLICE("GET / HTTP/1.1\r\nHost: a\r\n\r\n"),
     "HEAD GET / 1.1 keep-alive\n  [Host]=[a]\nEND\nEOF idle\n"},
    {"no blanks, blanks, empty values",
     SLICE("HEAD /api/tags?x=%20&y HTTP/1.1\r\nHost:a\r\nX-A:  b \t\r\nX-Empty:\r\nX-Blank:  "
           "\r\nX-Last: "
           "z\r\n\r\n"),
     "HEAD HEAD /api/tags?x=%20&y 1.1 keep-alive\n  [Host]=[a]\n  [X-A]=[b]\n  [X-Empty]=[]\n"
     "  [X-Blank]=[]\n  [X-Last]=[z]\nEND\nEOF idle\n"},
    {"length", SLICE("POST /api/chat HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello"),
     "HEAD POST /api/chat 1.1 keep-alive body length=5\n  [Host]=[a]\n  [Content-Length]=[5]\n"
     "BODY hello\nEND\nEOF idle\n"},
    {"length 0", SLICE("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n"),
     "HEAD POST / 1.1 keep-alive length=0\n  [Host]=[a]\n  [Content-Length]=[0]\nEND\nEOF idle\n"},
    {"chunked, extension, trailer",
     SLICE("PUT /x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: "
           "Chunked\r\n\r\n3\r\nabc\r\n00A;q=1;r=\"s\"\r\n"
           "0123456789\r\n0\r\nX-Trailer: t\r\n\r\n"),
     "HEAD PUT /x 1.1 keep-alive body chunked\n  [Host]=[a]\n  [Transfer-Encoding]=[Chunked]\n"
     "BODY abc0123456789\nEND\nEOF idle\n"},
    {"pipelined, empty lines between",
     SLICE("\r\nPOST /1 HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\nx\r\n\r\nGET /2 "
           "HTTP/1.1\r\nHost: "
           "b\r\nConnection: keep-alive, Close\r\n\r\nGET /3 HTTP/1.0\r\n\r\n"),
     "HEAD POST /1 1.1 keep-alive body length=1\n  [Host]=[a]\n  [Content-Length]=[1]\nBODY "
     "x\nEND\n"
     "HEAD GET /2 1.1\n  [Host]=[b]\n  [Connection]=[keep-alive, Close]\nEND\n"
     "HEAD GET /3 1.0\nEND\nEOF idle\n"},
    {"1.0 keep-alive", SLICE("GET /3 HTTP/1.0\r\nConnection: x, Keep-Alive\r\n\r\n"),
     "HEAD GET /3 1.0 keep-alive\n  [Connection]=[x, Keep-Alive]\nEND\nEOF idle\n"},
    {"expect",
     SLICE("POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-Continue\r\nContent-Length: 2\r\n\r\nok"),
     "HEAD POST / 1.1 keep-alive body continue length=2\n  [Host]=[a]\n  [Expect]=[100-Continue]\n"
     "  [Content-Length]=[2]\nBODY ok\nEND\nEOF idle\n"},
    {"expect in 1.0 means nothing", SLICE("GET / HTTP/1.0\r\nExpect: 100-continue\r\n\r\n"),
     "HEAD GET / 1.0\n  [Expect]=[100-continue]\nEND\nEOF idle\n"},
    {"absolute form and upgrade are read as they stand",
     SLICE("GET http://h:1/p HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: "
           "h2c\r\nContent-Length: "
           "1\r\n\r\nx"),
     "HEAD GET http://h:1/p 1.1 keep-alive body length=1\n  [Host]=[h]\n  [Connection]=[Upgrade]\n"
     "  [Upgrade]=[h2c]\n  [Content-Length]=[1]\nBODY x\nEND\nEOF idle\n"},
    {"connect", SLICE("CONNECT h:1 HTTP/1.1\r\nHost: h:1\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n"),
     "HEAD CONNECT h:1 1.1 keep-alive\n  [Host]=[h:1]\nEND\nHEAD GET / 1.1 keep-alive\n  "
     "[Host]=[a]\nEND\n"
     "EOF idle\n"},
    {"options *", SLICE("OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n"),
     "HEAD OPTIONS * 1.1 keep-alive\n  [Host]=[a]\nEND\nEOF idle\n"},
    {"methods of any token",
     SLICE("BREW /pot HTTP/1.1\r\nHost: a\r\n\r\nget / HTTP/1.1\r\nHost: a\r\n\r\n\r\nGETS * "
           "HTTP/1.1\r\nHost: a\r\n\r\nGE / HTTP/1.0\r\n\r\n!#$%&'*+-.^_`|~9 / HTTP/1.0\r\n\r\n"),
     "HEAD BREW /pot 1.1 keep-alive\n  [Host]=[a]\nEND\n"
     "HEAD get / 1.1 keep-alive\n  [Host]=[a]\nEND\nHEAD GETS * 1.1 keep-alive\n  [Host]=[a]\nEND\n"
     "HEAD GE / 1.0\nEND\nHEAD !#$%&'*+-.^_`|~9 / 1.0\nEND\nEOF idle\n"},
    {"method of any token, with a body",
     SLICE("POSTED / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n"),
     "HEAD POSTED / 1.1 keep-alive body chunked\n  [Host]=[a]\n  [Transfer-Encoding]=[chunked]\n"
     "BODY x\nEND\nEOF idle\n"},
    {"later minor versions are read as 1.1", SLICE("GET / HTTP/1.2\r\nHost: a\r\n\r\n"),
     "HEAD GET / 1.1 keep-alive\n  [Host]=[a]\nEND\nEOF idle\n"},
    {"hosts of all kinds",
     SLICE("GET / HTTP/1.1\r\nHost:\r\n\r\nGET / HTTP/1.1\r\nHost: [::1%25a]:80\r\n\r\nGET / "
           "HTTP/1.0\r\nHost: a-b_c.d,e\r\n\r\n"),
     "HEAD GET / 1.1 keep-alive\n  [Host]=[]\nEND\nHEAD GET / 1.1 keep-alive\n  "
     "[Host]=[[::1%25a]:80]\nEND\nHEAD GET / 1.0\n  [Host]=[a-b_c.d,e]\nEND\nEOF idle\n"},
    {"cut in the head", SLICE("GET / HTTP/1.1\r\nHost: a\r\n"), "EOF cut\n"},
    {"cut in a method of any token", SLICE("BREW"), "EOF cut\n"},
    {"cut in the body", SLICE("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhell"),
     "HEAD POST / 1.1 keep-alive body length=5\n  [Host]=[a]\n  [Content-Length]=[5]\nBODY "
     "hell\nEOF cut\n"},
    {"cut before the last chunk's end",
     SLICE("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n"),
     "HEAD POST / 1.1 keep-alive body chunked\n  [Host]=[a]\n  [Transfer-Encoding]=[chunked]\nBODY "
     "x\n"
     "EOF cut\n"},
};

#define R(text) SLICE("POST / HTTP/1.1\r\nHost: a\r\n" text)
#define CHUNKED "Transfer-Encoding: chunked\r\n\r\n"

static const struct message_case bad_heads[] = {
    {"length and coding", R("Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
     NULL},
    {"coding and length", R("Transfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n0\r\n\r\n"),
     NULL},
    {"two lengths", R("Content-Length: 3\r\nContent-Length: 4\r\n\r\nabcd"), NULL},
    {"twice the same length", R("Content-Length: 3\r\nContent-Length: 3\r\n\r\nabc"), NULL},
    {"list of lengths", R("Content-Length: 3, 3\r\n\r\nabc"), NULL},
    {"signed length", R("Content-Length: +3\r\n\r\nabc"), NULL},
    {"negative length", R("Content-Length: -3\r\n\r\nabc"), NULL},
    {"hexadecimal length", R("Content-Length: 0x3\r\n\r\nabc"), NULL},
    {"length of two words", R("Content-Length: 3 3\r\n\r\nabc"), NULL},
    {"empty length", R("Content-Length:\r\n\r\nabc"), NULL},
    {"blank length", R("Content-Length: \r\n\r\nabc"), NULL},
    {"length beyond 64 bits", R("Content-Length: 18446744073709551616\r\n\r\nabc"), NULL},
    {"coding that is not chunked", R("Transfer-Encoding: gzip\r\n\r\n"),
     "ERROR unsupported_op: a Transfer-Encoding other than chunked\n"},
    {"coding before chunked", R("Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n"),
     "ERROR unsupported_op: a Transfer-Encoding other than chunked\n"},
    {"coding behind chunked", R("Transfer-Encoding: chunked, gzip\r\n\r\n0\r\n\r\n"), NULL},
    {"chunked twice",
     R("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"), NULL},
    {"identity", R("Transfer-Encoding: identity\r\n\r\n"),
     "ERROR unsupported_op: a Transfer-Encoding other than chunked\n"},
    {"empty coding", R("Transfer-Encoding: \r\n\r\n"),
     "ERROR unsupported_op: a Transfer-Encoding other than chunked\n"},
    {"xchunked", R("Transfer-Encoding: xchunked\r\n\r\n"),
     "ERROR unsupported_op: a Transfer-Encoding other than chunked\n"},
    {"quoted coding", R("Transfer-Encoding: \"chunked\"\r\n\r\n"),
     "ERROR unsupported_op: a Transfer-Encoding other than chunked\n"},
    {"vertical tab before chunked", R("Transfer-Encoding: \vchunked\r\n\r\n0\r\n\r\n"), NULL},
    {"coding in 1.0", SLICE("POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
     NULL},
    {"obs-fold", R("X: a\r\n b\r\n\r\n"), NULL},
    {"obs-fold with tab", R("X: a\r\n\tb\r\n\r\n"), NULL},
    {"obs-fold of an empty value", R("X:\r\n b\r\n\r\n"), NULL},
    {"obs-fold in the length", R("Content-Length:\r\n 3\r\n\r\nabc"), NULL},
    {"blank before the first header", SLICE("GET / HTTP/1.1\r\n Host: a\r\n\r\n"), NULL},
    {"blank before the colon", R("Content-Length : 3\r\n\r\nabc"), NULL},
    {"blank in a name", R("Content Length: 3\r\n\r\nabc"), NULL},
    {"no name", R(": 3\r\n\r\n"), NULL},
    {"no colon", R("Content-Length\r\n\r\n"), NULL},
    {"name beyond ASCII", R("X\xc3\xa9: 3\r\n\r\n"), NULL},
    {"NUL in a name", R("X\0Y: 3\r\n\r\n"), NULL},
    {"NUL in a value", R("X: a\0b\r\n\r\n"), NULL},
    {"NUL at the end of a value", R("X: a\0\r\n\r\n"), NULL},
    {"DEL in a value", R("X: a\x7f\r\n\r\n"), NULL},
    {"escape in a value", R("X: a\033[1m\r\n\r\n"), NULL},
    {"bare CR in a value", R("X: a\rb\r\n\r\n"), NULL},
    {"bare CR behind a value", R("X: a\rContent-Length: 3\r\n\r\nabc"), NULL},
    {"bare LF behind a value", R("X: a\nY: b\r\n\r\n"), NULL},
    {"bare LF at the end of the head", R("X: a\r\n\n"), NULL},
    {"bare CR at the end of the head", R("X: a\r\n\rGET"), NULL},
    {"bare LF behind the request line", SLICE("GET / HTTP/1.1\nHost: a\r\n\r\n"), NULL},
    {"bare CR behind the request line", SLICE("GET / HTTP/1.1\rHost: a\r\n\r\n"), NULL},
    {"CR CR LF", SLICE("GET / HTTP/1.1\r\r\nHost: a\r\n\r\n"), NULL},
    {"bare LF before the request", SLICE("\nGET / HTTP/1.1\r\nHost: a\r\n\r\n"), NULL},
    {"bare CR before the request", SLICE("\rGET / HTTP/1.1\r\nHost: a\r\n\r\n"), NULL},
    {"blank before the method", SLICE(" GET / HTTP/1.1\r\nHost: a\r\n\r\n"), NULL},
    {"two blanks before the target", SLICE("GET  / HTTP/1.1\r\nHost: a\r\n\r\n"), NULL},
    {"tab before the target", SLICE("GET\t/ HTTP/1.1\r\nHost: a\r\n\r\n"), NULL},
    {"two blanks before the version", SLICE("GET /  HTTP/1.1\r\nHost: a\r\n\r\n"), NULL},
    {"blank behind the version", SLICE("GET / HTTP/1.1 \r\nHost: a\r\n\r\n"), NULL},
    {"blank in the target", SLICE("GET /a b HTTP/1.1\r\nHost: a\r\n\r\n"), NULL},
    {"NUL in the target", SLICE("GET /a\0b HTTP/1.1\r\nHost: a\r\n\r\n"), NULL},
    {"tab in the target", SLICE("GET /a\tb HTTP/1.1\r\nHost: a\r\n\r\n"), NULL},
    {"CR in the target", SLICE("GET /a\rb HTTP/1.1\r\nHost: a\r\n\r\n"), NULL},
    {"DEL in the target", SLICE("GET /a\x7f HTTP/1.1\r\nHost: a\r\n\r\n"), NULL},
    {"method with a character that is none of a token", SLICE("BR@W / HTTP/1.1\r\nHost: a\r\n\r\n"),
     NULL},
    {"method beyond ASCII", SLICE("BR\xc3\x84U / HTTP/1.1\r\nHost: a\r\n\r\n"), NULL},
    {"NUL in a method", SLICE("GE\0T / HTTP/1.1\r\nHost: a\r\n\r\n"), NULL},
    {"only a method", SLICE("BREW\r\n\r\n"), NULL},
    {"two blanks behind a method of any token", SLICE("BREW  / HTTP/1.1\r\nHost: a\r\n\r\n"), NULL},
    {"authority for a method of any token", SLICE("BREW a:1 HTTP/1.1\r\nHost: a\r\n\r\n"), NULL},
    {"HTTP/0.9", SLICE("GET /\r\n\r\n"), NULL},
    {"HTTP/0.9 by name", SLICE("GET / HTTP/0.9\r\nHost: a\r\n\r\n"),
     "ERROR unsupported_version: unsupported protocol version\n"},
    {"HTTP/3.1", SLICE("GET / HTTP/3.1\r\nHost: a\r\n\r\n"),
     "ERROR unsupported_version: unsupported protocol version\n"},
    {"HTTP/1.10", SLICE("GET / HTTP/1.10\r\nHost: a\r\n\r\n"), NULL},
    {"HTTP/2.0", SLICE("GET / HTTP/2.0\r\nHost: a\r\n\r\n"),
     "ERROR unsupported_version: unsupported protocol version\n"},
    {"http/1.1", SLICE("GET / http/1.1\r\nHost: a\r\n\r\n"), NULL},
    {"RTSP", SLICE("OPTIONS * RTSP/1.0\r\nHost: a\r\n\r\n"), NULL},
    {"ICE", SLICE("SOURCE / ICE/1.0\r\nHost: a\r\n\r\n"), NULL},
    {"HTTP/2 preface", SLICE("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
     "ERROR unsupported_version: unsupported protocol version\n"},
    {"TLS", SLICE("\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"), NULL},
    {"MCP", SLICE("\x01\x01\0\0\0\x01\0\0\0\x02{}"), NULL},
    {"three blanks before the target", SLICE("GET   / HTTP/1.1\r\nHost: a\r\n\r\n"), NULL},
    {"no target", SLICE("GET HTTP/1.1\r\nHost: a\r\n\r\n"), NULL},
    {"no host", SLICE("GET / HTTP/1.1\r\n\r\n"),
     "ERROR bad_request: missing required Host header\n"},
    {"two hosts", SLICE("GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n"), NULL},
    {"blank in the host", SLICE("GET / HTTP/1.1\r\nHost: a b\r\n\r\n"),
     "ERROR bad_request: malformed Host header\n"},
    {"path in the host", SLICE("GET / HTTP/1.1\r\nHost: a/b\r\n\r\n"), NULL},
    {"user in the host", SLICE("GET / HTTP/1.0\r\nHost: a@b\r\n\r\n"), NULL},
    {"host beyond ASCII", SLICE("GET / HTTP/1.1\r\nHost: \xc3\xa4\r\n\r\n"), NULL},
    {"a response", SLICE("HTTP/1.1 200 OK\r\n\r\n"), NULL},
};

static const struct message_case bad_bodies[] = {
    {"chunk size of nothing", R(CHUNKED "\r\nabc\r\n0\r\n\r\n"), NULL},
    {"chunk size with 0x", R(CHUNKED "0x3\r\nabc\r\n0\r\n\r\n"), NULL},
    {"chunk size with a sign", R(CHUNKED "+3\r\nabc\r\n0\r\n\r\n"), NULL},
    {"chunk size behind a blank", R(CHUNKED " 3\r\nabc\r\n0\r\n\r\n"), NULL},
    {"blank behind the chunk size", R(CHUNKED "3 \r\nabc\r\n0\r\n\r\n"), NULL},
    {"chunk size beyond 64 bits", R(CHUNKED "10000000000000003\r\nabc\r\n0\r\n\r\n"), NULL},
    {"bare LF behind the chunk size", R(CHUNKED "3\nabc\r\n0\r\n\r\n"), NULL},
    {"bare CR behind the chunk size", R(CHUNKED "3\rabc\r\n0\r\n\r\n"), NULL},
    {"bare LF behind an extension", R(CHUNKED "3;a\nabc\r\n0\r\n\r\n"), NULL},
    {"bare LF in an extension's quotes", R(CHUNKED "3;a=\"\n\"\r\nabc\r\n0\r\n\r\n"), NULL},
    {"NUL in an extension", R(CHUNKED "3;a\0\r\nabc\r\n0\r\n\r\n"), NULL},
    {"chunk longer than it says", R(CHUNKED "3\r\nabcd\r\n0\r\n\r\n"), NULL},
    {"bare LF behind the chunk", R(CHUNKED "3\r\nabc\n0\r\n\r\n"), NULL},
    {"nothing behind the chunk", R(CHUNKED "3\r\nabc0\r\n\r\n"), NULL},
    {"bare LF behind the last chunk", R(CHUNKED "3\r\nabc\r\n0\n\r\n"), NULL},
    {"bare LF at the end", R(CHUNKED "3\r\nabc\r\n0\r\n\n"), NULL},
    {"bare LF in a trailer", R(CHUNKED "3\r\nabc\r\n0\r\nX: a\nY: b\r\n\r\n"), NULL},
    {"obs-fold in a trailer", R(CHUNKED "3\r\nabc\r\n0\r\nX: a\r\n b\r\n\r\n"), NULL},
};

static void test_requests(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(requests) / sizeof(requests[0]); i++) {
        check_cuts(HTTP_PARSE_REQUESTS, false, requests[i].name, requests[i].in,
                   requests[i].expected, false);
    }
}

static void test_bad_heads(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(bad_heads) / sizeof(bad_heads[0]); i++) {
        check_cuts(
            HTTP_PARSE_REQUESTS, false, bad_heads[i].name, bad_heads[i].in,
            bad_heads[i].expected != NULL ? bad_heads[i].expected : "ERROR bad_request: ", true);
    }
}

static void test_bad_bodies(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(bad_bodies) / sizeof(bad_bodies[0]); i++) {
        struct buf out = {0};

        check_cuts(HTTP_PARSE_REQUESTS, false, bad_bodies[i].name, bad_bodies[i].in, "HEAD POST",
                   true);
        http_trace(&out, HTTP_PARSE_REQUESTS, false, bad_bodies[i].in,
                   (struct cuts){bad_bodies[i].in.len, 0});
        assert_true(buf_append_byte(&out, '\0'));
        if (strstr(out.data, "ERROR bad_request: ") == NULL) {
            print_error("%s passed: %s\n", bad_bodies[i].name, out.data);
        }
        assert_non_null(strstr(out.data, "ERROR bad_request: "));
        buf_fini(&out);
    }
}

static const struct message_case responses[] = {
    {"length", SLICE("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"),
     "HEAD 200 \"OK\" 1.1 keep-alive body length=2\n  [Content-Length]=[2]\nBODY {}\nEND\nEOF "
     "idle\n"},
    {"no reason", SLICE("HTTP/1.1 404\r\nContent-Length: 0\r\n\r\n"),
     "HEAD 404 \"\" 1.1 keep-alive length=0\n  [Content-Length]=[0]\nEND\nEOF idle\n"},
    {"empty reason", SLICE("HTTP/1.1 404 \r\nContent-Length: 0\r\n\r\n"),
     "HEAD 404 \"\" 1.1 keep-alive length=0\n  [Content-Length]=[0]\nEND\nEOF idle\n"},
    {"reason of words",
     SLICE("HTTP/1.0 599 a b\xc3\xa9  c\r\nConnection: keep-alive\r\nContent-Length: 0\r\n\r\n"),
     "HEAD 599 \"a b\xc3\xa9  c\" 1.0 keep-alive length=0\n  [Connection]=[keep-alive]\n"
     "  [Content-Length]=[0]\nEND\nEOF idle\n"},
    {"chunked",
     SLICE(
         "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nab\r\n\r\n1\r\nc\r\n0\r\n\r\n"),
     "HEAD 200 \"OK\" 1.1 keep-alive body chunked\n  [Transfer-Encoding]=[chunked]\nBODY "
     "ab\r\nc\nEND\n"
     "EOF idle\n"},
    {"until the end", SLICE("HTTP/1.1 200 OK\r\nServer: x\r\n\r\nabc\r\n"),
     "HEAD 200 \"OK\" 1.1 body\n  [Server]=[x]\nBODY abc\r\n\nEOF end\n"},
    {"until the end, empty", SLICE("HTTP/1.0 200 OK\r\n\r\n"),
     "HEAD 200 \"OK\" 1.0 body\nEOF end\n"},
    {"close", SLICE("HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Length: 1\r\n\r\nx"),
     "HEAD 400 \"Bad Request\" 1.1 body length=1\n  [Connection]=[close]\n  "
     "[Content-Length]=[1]\nBODY x\n"
     "END\nEOF idle\n"},
    {"204 and 304 have no body",
     SLICE("HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\nHTTP/1.1 304 x\r\n\r\nHTTP/1.1 200 "
           "OK\r\nContent-Length: 1\r\n\r\nx"),
     "HEAD 204 \"No Content\" 1.1 keep-alive length=5\n  [Content-Length]=[5]\nEND\n"
     "HEAD 304 \"x\" 1.1 keep-alive\nEND\n"
     "HEAD 200 \"OK\" 1.1 keep-alive body length=1\n  [Content-Length]=[1]\nBODY x\nEND\nEOF "
     "idle\n"},
    {"1xx are skipped",
     SLICE("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 201 "
           "Created\r\nContent-Length: 0\r\n\r\n"),
     "HEAD 201 \"Created\" 1.1 keep-alive length=0\n  [Content-Length]=[0]\nEND\nEOF idle\n"},
    {"nothing behind 1xx", SLICE("HTTP/1.1 100 Continue\r\n\r\n"), "EOF cut\n"},
    {"two responses",
     SLICE("HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\naHTTP/1.1 500 No\r\nContent-Length: "
           "1\r\n\r\nb"),
     "HEAD 200 \"OK\" 1.1 keep-alive body length=1\n  [Content-Length]=[1]\nBODY a\nEND\n"
     "HEAD 500 \"No\" 1.1 keep-alive body length=1\n  [Content-Length]=[1]\nBODY b\nEND\nEOF "
     "idle\n"},
    {"cut", SLICE("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nab"),
     "HEAD 200 \"OK\" 1.1 keep-alive body chunked\n  [Transfer-Encoding]=[chunked]\nBODY ab\nEOF "
     "cut\n"},
};

static const struct message_case bad_responses[] = {
    {"not HTTP", SLICE("garbage\r\n\r\n"), NULL},
    {"JSON", SLICE("{\"error\":\"x\"}\n"), NULL},
    {"RTSP", SLICE("RTSP/1.0 200 OK\r\n\r\n"), NULL},
    {"ICY", SLICE("ICY 200 OK\r\n\r\n"), NULL},
    {"HTTP/2", SLICE("HTTP/2.0 200 OK\r\n\r\n"), NULL},
    {"bare LF", SLICE("HTTP/1.1 200 OK\nContent-Length: 0\r\n\r\n"), NULL},
    {"bare CR in the reason", SLICE("HTTP/1.1 200 O\rK\r\nContent-Length: 0\r\n\r\n"), NULL},
    {"NUL in the reason", SLICE("HTTP/1.1 200 O\0K\r\nContent-Length: 0\r\n\r\n"), NULL},
    {"empty line before", SLICE("\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"), NULL},
    {"status of two digits", SLICE("HTTP/1.1 99 x\r\nContent-Length: 0\r\n\r\n"), NULL},
    {"two blanks before the status", SLICE("HTTP/1.1  200 OK\r\nContent-Length: 0\r\n\r\n"), NULL},
    {"status 000", SLICE("HTTP/1.1 000 x\r\nContent-Length: 0\r\n\r\n"), NULL},
    {"switching protocols", SLICE("HTTP/1.1 101 x\r\nUpgrade: h2c\r\nConnection: upgrade\r\n\r\n"),
     NULL},
    {"length and coding",
     SLICE("HTTP/1.1 200 OK\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n"), NULL},
    {"two lengths", SLICE("HTTP/1.1 200 OK\r\nContent-Length: 3\r\nContent-Length: 3\r\n\r\nabc"),
     NULL},
    {"unknown coding", SLICE("HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\nabc"), NULL},
    {"coding in 1.0", SLICE("HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
     NULL},
};

static void test_responses(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(responses) / sizeof(responses[0]); i++) {
        check_cuts(HTTP_PARSE_RESPONSES, false, responses[i].name, responses[i].in,
                   responses[i].expected, false);
    }
    for (size_t i = 0; i < sizeof(bad_responses) / sizeof(bad_responses[0]); i++) {
        check_cuts(HTTP_PARSE_RESPONSES, false, bad_responses[i].name, bad_responses[i].in,
                   "ERROR bad_request: ", true);
    }
}

static void test_answers_to_head(void **state)
{
    (void)state;
    check_cuts(
        HTTP_PARSE_RESPONSES, true, "length",
        SLICE("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: "
              "1\r\n\r\nx"),
        "HEAD 200 \"OK\" 1.1 keep-alive length=5\n  [Content-Length]=[5]\nEND\n"
        "HEAD 200 \"OK\" 1.1 keep-alive body length=1\n  [Content-Length]=[1]\nBODY x\nEND\n"
        "EOF idle\n",
        false);
    check_cuts(
        HTTP_PARSE_RESPONSES, true, "chunked, behind a 1xx",
        SLICE("HTTP/1.1 100 c\r\n\r\nHTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"),
        "HEAD 200 \"OK\" 1.1 keep-alive chunked\n  [Transfer-Encoding]=[chunked]\nEND\nEOF idle\n",
        false);
    check_cuts(HTTP_PARSE_RESPONSES, true, "neither", SLICE("HTTP/1.1 200 OK\r\n\r\n"),
               "HEAD 200 \"OK\" 1.1 keep-alive\nEND\nEOF idle\n", false);
}

/* --- limits
 * ---------------------------------------------------------------------------------------- */

static struct buf head_of_bytes(size_t bytes, const char *behind)
{
    struct buf in = {0};

    assert_true(buf_append_str(&in, "GET / HTTP/1.1\r\nHost: a\r\nX: "));
    while (buf_len(&in) < bytes - 4) {
        assert_true(buf_append_byte(&in, 'x'));
    }
    assert_true(buf_append_str(&in, "\r\n\r\n"));
    assert_true(buf_append_str(&in, behind));
    return in;
}

static void check_few_cuts(struct slice in, const char *begin, const char *contains)
{
    static const struct cuts cuts[] = {{0, 0},
                                       {1, 1},
                                       {7, 4096},
                                       {HTTP_HEAD_BYTES_MAX, 0},
                                       {HTTP_HEAD_BYTES_MAX - 1, 1},
                                       {HTTP_HEAD_BYTES_MAX + 1, 1}};

    for (size_t i = 0; i < sizeof(cuts) / sizeof(cuts[0]); i++) {
        struct buf out = {0};

        http_trace(&out, HTTP_PARSE_REQUESTS, false, in, cuts[i]);
        assert_true(slice_starts(buf_slice(&out), slice_str(begin)));
        assert_true(buf_append_byte(&out, '\0'));
        assert_non_null(strstr(out.data, contains));
        buf_fini(&out);
    }
}

static void test_head_size(void **state)
{
    struct buf fits = head_of_bytes(HTTP_HEAD_BYTES_MAX, "\r\n");
    struct buf over = head_of_bytes(HTTP_HEAD_BYTES_MAX + 1, "");
    struct buf blank = {0};

    (void)state;
    check_few_cuts(buf_slice(&fits), "HEAD GET / 1.1", "END\nEOF idle\n");
    check_few_cuts(buf_slice(&over), "ERROR too_large: the head is larger than 32768 bytes\n", "");
    for (size_t i = 0; i < HTTP_HEAD_BYTES_MAX; i++) {
        assert_true(buf_append_str(&blank, "\r\n"));
    }
    check_few_cuts(buf_slice(&blank), "ERROR too_large: ", "");
    buf_fini(&fits);
    buf_fini(&over);
    buf_fini(&blank);
}

static void test_header_count(void **state)
{
    (void)state;
    for (int count = HTTP_HEADERS_MAX; count <= HTTP_HEADERS_MAX + 1; count++) {
        struct buf in = {0};

        assert_true(buf_append_str(&in, "GET / HTTP/1.1\r\nHost: a\r\n"));
        for (int i = 1; i < count; i++) {
            assert_true(buf_printf(&in, "X-%d: %d\r\n", i, i));
        }
        assert_true(buf_append_str(&in, "\r\n"));
        if (count == HTTP_HEADERS_MAX) {
            check_few_cuts(buf_slice(&in), "HEAD GET / 1.1", "  [X-127]=[127]\nEND\nEOF idle\n");
        } else {
            check_few_cuts(buf_slice(&in), "ERROR too_large: too many headers\n", "");
        }
        buf_fini(&in);
    }
}

/* Whoever sends framing and never a byte of body does not keep us busy for ever. */
static void test_framing_size(void **state)
{
    struct buf extension = {0};
    struct buf trailers = {0};
    struct buf thin = {0};

    (void)state;
    assert_true(buf_append(&extension, R(CHUNKED "1;x=")));
    for (size_t i = 0; i < HTTP_HEAD_BYTES_MAX; i++) {
        assert_true(buf_append_byte(&extension, 'y'));
    }
    assert_true(buf_append_str(&extension, "\r\na\r\n0\r\n\r\n"));
    check_few_cuts(buf_slice(&extension), "HEAD POST",
                   "ERROR bad_request: more than 32768 bytes around");

    assert_true(buf_append(&trailers, R(CHUNKED "1\r\na\r\n0\r\n")));
    for (int i = 0; i < 4000; i++) {
        assert_true(buf_append_str(&trailers, "X: yyyyyyy\r\n"));
    }
    assert_true(buf_append_str(&trailers, "\r\n"));
    check_few_cuts(buf_slice(&trailers), "HEAD POST",
                   "BODY a\nERROR bad_request: more than 32768 bytes");

    assert_true(buf_append(&thin, R(CHUNKED)));
    for (int i = 0; i < 20000; i++) {
        assert_true(buf_append_str(&thin, "1\r\na\r\n"));
    }
    assert_true(buf_append_str(&thin, "0\r\n\r\n"));
    check_few_cuts(buf_slice(&thin), "HEAD POST", "END\nEOF idle\n");
    buf_fini(&extension);
    buf_fini(&trailers);
    buf_fini(&thin);
}

/* --- the rest
 * -------------------------------------------------------------------------------------- */

static void test_idle(void **state)
{
    struct http_parser *p = http_parser_new(HTTP_PARSE_REQUESTS);
    struct http_event ev;
    struct err e;

    (void)state;
    assert_true(http_parser_idle(p));
    assert_int_equal(http_parser_feed(p, SLICE("\r\n"), &ev, &e), 2);
    assert_true(http_parser_idle(p));
    assert_int_equal(http_parser_feed(p, SLICE("G"), &ev, &e), 1);
    assert_false(http_parser_idle(p));
    assert_int_equal(http_parser_eof(p, &ev), MCP_ECLOSED);
    http_parser_free(&p);
    assert_null(p);
}

/* The head outlives its message, until the next one begins. */
static void test_head_stays(void **state)
{
    struct http_parser *p = http_parser_new(HTTP_PARSE_REQUESTS);
    struct slice in =
        SLICE("GET /first HTTP/1.1\r\nHost: a\r\n\r\nGET /second HTTP/1.1\r\nHost: b\r\n\r\n");
    struct http_event ev;
    const struct http_head *head;
    ptrdiff_t used = http_parser_feed(p, in, &ev, NULL);

    (void)state;
    assert_int_equal(ev.kind, HTTP_EV_HEAD);
    head = ev.head;
    in = slice_skip(in, (size_t)used);
    assert_int_equal(http_parser_feed(p, in, &ev, NULL), 0);
    assert_int_equal(ev.kind, HTTP_EV_END);
    assert_true(slice_eq(head->target, SLICE("/first")));
    assert_true(slice_eq(http_head_find(head, SLICE("HOST")), SLICE("a")));
    http_parser_free(&p);
}

static void test_lookups(void **state)
{
    static const struct http_header headers[] = {
        {{"Connection", 10}, {"close , X-Mine,,upgrade", 23}},
        {{"accept", 6}, {"a", 1}},
        {{"Accept", 6}, {"b, c", 4}},
    };
    static const char *const always[] = {"Connection",
                                         "keep-alive",
                                         "Proxy-Authenticate",
                                         "proxy-authorization",
                                         "PROXY-CONNECTION",
                                         "te",
                                         "Trailer",
                                         "transfer-encoding",
                                         "Upgrade"};
    const struct http_head head = {.headers = headers, .header_count = 3};

    (void)state;
    assert_true(slice_eq(http_head_find(&head, SLICE("ACCEPT")), SLICE("a")));
    assert_null(http_head_find(&head, SLICE("Accep")).ptr);
    assert_true(http_head_has_token(&head, SLICE("connection"), SLICE("CLOSE")));
    assert_true(http_head_has_token(&head, SLICE("accept"), SLICE("c")));
    assert_false(http_head_has_token(&head, SLICE("accept"), SLICE("")));
    assert_false(http_head_has_token(&head, SLICE("connection"), SLICE("clos")));
    for (size_t i = 0; i < sizeof(always) / sizeof(always[0]); i++) {
        assert_true(http_header_is_hop_by_hop(&head, slice_str(always[i])));
    }
    assert_true(http_header_is_hop_by_hop(&head, SLICE("x-mine")));
    assert_false(http_header_is_hop_by_hop(&head, SLICE("accept")));
    assert_false(http_header_is_hop_by_hop(&head, SLICE("Content-Length")));
}

static bool has_type(const char *value, const char *type)
{
    const struct http_header header = {SLICE("content-type"), slice_str(value)};
    const struct http_head head = {.headers = &header, .header_count = value == NULL ? 0 : 1};

    return http_head_has_type(&head, slice_str(type));
}

static void test_media_type(void **state)
{
    (void)state;
    assert_true(has_type("application/json", "application/json"));
    assert_true(has_type("Application/JSON ; charset=utf-8", "application/json"));
    assert_false(has_type("application/jsonl", "application/json"));
    assert_false(has_type("application/json, text/html", "application/json"));
    assert_false(has_type("", "application/json"));
    assert_false(has_type(NULL, "application/json"));
}

/* Out of memory is that message's error, at every place. */
static void parse_once(void *arg)
{
    struct http_parser *p = http_parser_new(HTTP_PARSE_REQUESTS);
    struct buf in = {0};
    struct http_event ev;
    struct err e;
    ptrdiff_t used;

    (void)arg;
    if (p == NULL) {
        return;
    }
    (void)buf_append_str(&in, "GET / HTTP/1.1\r\nHost: a\r\n");
    for (int i = 0; i < 40; i++) {
        (void)buf_printf(&in, "X-%d: %050d\r\n", i, i);
    }
    (void)buf_append_str(&in, "\r\n");
    if (!buf_failed(&in)) {
        used = http_parser_feed(p, buf_slice(&in), &ev, &e);
        assert_true(used == MCP_ENOMEM || ev.kind == HTTP_EV_HEAD);
    }
    buf_fini(&in);
    http_parser_free(&p);
}

static void test_out_of_memory(void **state)
{
    (void)state;
    alloc_fault_each(parse_once, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_requests),
        cmocka_unit_test(test_bad_heads),
        cmocka_unit_test(test_bad_bodies),
        cmocka_unit_test(test_responses),
        cmocka_unit_test(test_answers_to_head),
        cmocka_unit_test(test_head_size),
        cmocka_unit_test(test_header_count),
        cmocka_unit_test(test_framing_size),
        cmocka_unit_test(test_idle),
        cmocka_unit_test(test_head_stays),
        cmocka_unit_test(test_lookups),
        cmocka_unit_test(test_media_type),
        cmocka_unit_test(test_out_of_memory),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
