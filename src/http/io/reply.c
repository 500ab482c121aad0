/* SPDX-License-Identifier: Apache-2.0 */
/* Writing: replies and their framing. */
#include <time.h>

#include "base/check.h"
#include "base/counter.h"
#include "http/io/chunk.h"
#include "http/io/server_internal.h"
#include "http/parse/status.h"

static struct http_request *request_of(struct http_request *q)
{
    OBJ_CHECK(q, REQUEST_MAGIC);
    return q;
}

static void write_out(struct http_conn *c, struct slice bytes)
{
    counter_add(COUNTER_BYTES_TO_CLIENTS, (int64_t)bytes.len);
    (void)sock_write(c->sock, bytes); /* out of memory comes back as closed() */
}

static void write_pieces(struct http_conn *c, const struct slice *pieces, size_t count)
{
    size_t bytes = 0;

    for (size_t i = 0; i < count; i++) {
        bytes += pieces[i].len;
    }
    counter_add(COUNTER_BYTES_TO_CLIENTS, (int64_t)bytes);
    (void)sock_writev(c->sock, pieces, count); /* out of memory comes back as closed() */
}

/* --- heads
 * ------------------------------------------------------------------------------------------- */

/* RFC 9110 5.6.7, made once a second. */
static void make_date(struct http_server *s)
{
    static const char days[] = "SunMonTueWedThuFriSat";
    static const char months[] = "JanFebMarAprMayJunJulAugSepOctNovDec";
    uint64_t wall_us = loop_wall_us(s->loop);
    time_t at = (time_t)(wall_us / 1000000);
    struct tm tm;

    s->date_over_us = loop_now_us(s->loop) + 1000000 - wall_us % 1000000;
    if (gmtime_r(&at, &tm) != NULL) {
        buf_clear(&s->date);
        (void)buf_printf(&s->date, "\r\nDate: %.3s, %02d %.3s %04d %02d:%02d:%02d GMT\r\n",
                         days + 3 * tm.tm_wday, tm.tm_mday, months + 3 * tm.tm_mon,
                         tm.tm_year + 1900, tm.tm_hour, tm.tm_min, tm.tm_sec);
    }
}

static void begin_head(struct http_server *s, unsigned status)
{
    if (loop_now_us(s->loop) >= s->date_over_us || buf_len(&s->date) == 0) {
        make_date(s);
    }
    buf_clear(&s->head);
    (void)buf_append(&s->head, SLICE("HTTP/1.1 "));
    (void)buf_append_uint(&s->head, status);
    (void)buf_append_byte(&s->head, ' ');
    (void)buf_append_str(&s->head, http_status_reason(status));
    (void)(buf_len(&s->date) > 0 ? buf_append(&s->head, buf_slice(&s->date))
                                 : buf_append(&s->head, SLICE("\r\n")));
}

/* False: out of memory somewhere since begin_head. */
static bool end_head(struct http_conn *c)
{
    struct buf *b = &c->server->head;

    if (!buf_append(b, SLICE("\r\n"))) {
        return false;
    }
    write_out(c, buf_slice(b));
    return true;
}

void reply_bad(struct http_conn *c, unsigned status, const char *reason)
{
    struct http_server *s = c->server;
    struct buf body = {0};

    (void)buf_printf(&body, "%u %s: %s", status, http_status_reason(status), reason);
    begin_head(s, status);
    (void)http_header_append(&s->head, SLICE("Content-Type"), SLICE("text/plain; charset=utf-8"));
    (void)buf_printf(&s->head, "Content-Length: %zu\r\nConnection: close\r\n", buf_len(&body));
    if (end_head(c)) {
        write_out(c, buf_slice(&body));
    }
    buf_fini(&body);
}

/* Whether waiting for the rest of the request's body, to drop it, would take long or for ever. A
 * chunked one does not say; where much of it came already, more is expected: an upload that the
 * node has no need of. Go's client, told that the connection stays, would wait for its own sending.
 */
static bool body_is_long(const struct http_request *q)
{
    if (q->conn->state != CONN_BODY) {
        return false;
    }
    if (q->head.expect_continue && !q->continue_sent && q->body_bytes == 0) {
        return true;
    }
    return q->head.has_length ? q->head.content_length - q->body_bytes > DRAIN_BYTES_MAX
                              : q->body_bytes > CHUNKED_LONG_BYTES;
}

static void choose_framing(struct http_request *q, int64_t length)
{
    if (length >= 0) {
        q->framing = REPLY_LENGTH;
        q->reply_left = (uint64_t)length;
    } else if (length == HTTP_LENGTH_NONE) {
        q->framing = REPLY_WITHOUT_BODY;
    } else {
        q->framing = q->head.minor > 0 ? REPLY_CHUNKED : REPLY_UNTIL_CLOSE;
    }
    q->close = !q->head.keep_alive || q->conn->server->draining || body_is_long(q) ||
               q->framing == REPLY_UNTIL_CLOSE;
}

static bool is_head(const struct http_request *q)
{
    return slice_eq(q->head.method, SLICE("HEAD"));
}

void http_reply_head(struct http_request *q, unsigned status, const struct http_header *headers,
                     size_t count, int64_t length)
{
    struct http_server *s = request_of(q)->conn->server;

    ASSERT(q->framing == REPLY_NOT_STARTED);
    choose_framing(q, length);
    begin_head(s, status);
    for (size_t i = 0; i < count; i++) {
        (void)http_header_append(&s->head, headers[i].name, headers[i].value);
    }
    if (q->framing == REPLY_LENGTH) {
        (void)buf_append(&s->head, SLICE("Content-Length: "));
        (void)buf_append_uint(&s->head, q->reply_left);
        (void)buf_append(&s->head, SLICE("\r\n"));
    } else if (q->framing == REPLY_CHUNKED) {
        (void)buf_append_str(&s->head, "Transfer-Encoding: chunked\r\n");
    }
    if (q->close) {
        (void)buf_append_str(&s->head, "Connection: close\r\n");
    } else if (q->head.minor == 0) {
        (void)buf_append_str(&s->head, "Connection: keep-alive\r\n");
    }
    if (!end_head(q->conn) || is_head(q)) {
        /* Without memory for the head the client gets nothing, and the end of the connection. */
        q->close = q->close || buf_failed(&s->head);
        q->framing = REPLY_WITHOUT_BODY;
    }
}

/* --- bodies
 * ------------------------------------------------------------------------------------------ */

void http_reply_bodyv(struct http_request *q, const struct slice *pieces, size_t count)
{
    struct http_conn *c = request_of(q)->conn;
    struct slice out[HTTP_REPLY_PIECES_MAX + 2];
    char size[HTTP_CHUNK_BEGIN_BYTES];
    size_t total = 0;
    size_t used = 0;

    ASSERT(q->framing != REPLY_NOT_STARTED && count <= HTTP_REPLY_PIECES_MAX);
    for (size_t i = 0; i < count; i++) {
        total += pieces[i].len;
    }
    if (total == 0 || q->framing == REPLY_WITHOUT_BODY) {
        return;
    }
    if (q->framing == REPLY_CHUNKED) {
        out[used++] = http_chunk_begin(size, total);
    }
    for (size_t i = 0; i < count; i++) {
        struct slice piece = pieces[i];

        if (q->framing == REPLY_LENGTH) {
            /* More than was announced would be read as the next reply. */
            piece =
                slice_first(piece, q->reply_left < piece.len ? (size_t)q->reply_left : piece.len);
            q->reply_left -= piece.len;
        }
        out[used++] = piece;
    }
    if (q->framing == REPLY_CHUNKED) {
        out[used++] = SLICE("\r\n");
    }
    write_pieces(c, out, used);
}

void http_reply_body(struct http_request *q, struct slice bytes)
{
    http_reply_bodyv(q, &bytes, 1);
}

/* --- ends
 * -------------------------------------------------------------------------------------------- */

/* Takes the request off its connection. */
static struct http_conn *detach(struct http_request **qp)
{
    struct http_conn *c = request_of(*qp)->conn;

    ASSERT(c->request == *qp);
    c->request = NULL;
    request_free(*qp);
    *qp = NULL;
    return c;
}

void http_reply_end(struct http_request **qp)
{
    struct http_request *q = request_of(*qp);
    /* The drain may have begun behind the head. */
    bool close =
        q->close || q->conn->server->draining || (q->framing == REPLY_LENGTH && q->reply_left > 0);
    struct http_conn *c;

    ASSERT(q->framing != REPLY_NOT_STARTED);
    if (q->framing == REPLY_CHUNKED) {
        write_out(q->conn, SLICE("0\r\n\r\n"));
    }
    c = detach(qp);
    if (close) {
        /* As long as where the connection is kept: the client has a right to all of it. */
        sock_set_patience(c->sock, c->server->limits.idle_timeout_ms);
        conn_close(c, END_GENTLY);
    } else {
        conn_reply_over(c);
    }
}

void http_reply_abort(struct http_request **qp)
{
    bool until_close = request_of(*qp)->framing == REPLY_UNTIL_CLOSE;
    struct http_conn *c = detach(qp);

    if (until_close) {
        sock_flush(c->sock);
    }
    conn_close(c, until_close ? END_RESET : END_GENTLY);
}

void http_reply_simple(struct http_request **qp, unsigned status, struct slice content_type,
                       struct slice body)
{
    const struct http_header header = {SLICE("Content-Type"), content_type};

    http_reply_head(*qp, status, &header, 1, (int64_t)body.len);
    http_reply_body(*qp, body);
    http_reply_end(qp);
}

/* --- state
 * ------------------------------------------------------------------------------------------- */

void http_request_continue(struct http_request *q)
{
    struct http_conn *c = request_of(q)->conn;

    if (q->head.expect_continue && !q->continue_sent && q->body_bytes == 0 &&
        c->state == CONN_BODY && q->framing == REPLY_NOT_STARTED) {
        q->continue_sent = true;
        write_out(c, SLICE("HTTP/1.1 100 Continue\r\n\r\n"));
    }
}

size_t http_reply_unsent(const struct http_request *q)
{
    OBJ_CHECK(q, REQUEST_MAGIC);
    return sock_unsent(q->conn->sock);
}

bool http_reply_over_high(const struct http_request *q)
{
    OBJ_CHECK(q, REQUEST_MAGIC);
    return sock_over_high(q->conn->sock);
}

int64_t http_reply_delivered(const struct http_request *q)
{
    OBJ_CHECK(q, REQUEST_MAGIC);
    return sock_delivered(q->conn->sock);
}

void http_reply_notify_sent(struct http_request *q)
{
    request_of(q)->notify = true;
    sock_notify_sent(q->conn->sock);
}

bool http_reply_started(const struct http_request *q)
{
    OBJ_CHECK(q, REQUEST_MAGIC);
    return q->framing != REPLY_NOT_STARTED;
}
