/* SPDX-License-Identifier: Apache-2.0 */
/* llhttp drives callbacks; each callback that has something to say stores it and pauses llhttp, so
 * that http_parser_feed can hand out one event per call. llhttp is reset at every end, so nothing
 * of one message is left for the next. */
#include "http/parse/message.h"

#include <llhttp.h>
#include <stdlib.h>

#include "base/block.h"
#include "base/buf.h"
#include "http/parse/target.h"

enum state {
    STATE_IDLE,    /* between messages; empty lines before a request may have been skipped */
    STATE_HEAD,    /* bytes of a head (or of a 1xx response before it) were seen */
    STATE_BODY,    /* the head was handed out, a body follows */
    STATE_END_DUE, /* the head was handed out and was all */
};

enum { LOOK_BACK = 7 }; /* a byte, a space, "HTTP/" */

enum { FIRST_FIELDS = 21 }; /* as many as a block of 1 KiB takes */

enum found { FOUND_NOTHING, FOUND_HEAD, FOUND_BODY, FOUND_END };

/* Offsets, since `text` moves while it grows, and has what is being looked at only afterwards. */
struct field {
    uint32_t name_at;
    uint32_t name_len;
    uint32_t value_at;
    uint32_t value_len;
};

struct http_parser {
    llhttp_t ll;
    enum state state;
    enum found found;  /* what the callback that paused llhttp had to say */
    struct slice body; /* FOUND_BODY */
    struct err error;  /* of the message; repeats */

    struct http_head head;
    struct buf text;   /* the head as it came, from its first line on */
    uint32_t first_at; /* target or reason */
    uint32_t first_len;
    struct field *fields;
    struct http_header *headers; /* `fields` resolved; both have `field_cap` places of one block */
    size_t field_count;
    size_t field_cap;
    bool in_name;
    const char *fault;       /* in the first line, to be told when its item is complete */
    bool own_method;         /* one that llhttp does not know: read here, */
    uint32_t own_method_len; /* and so long, once its space was read */

    size_t head_bytes;   /* of this head, empty lines and 1xx responses before it included */
    size_t frame_bytes;  /* since the last body byte */
    const char *base;    /* start of the input llhttp is working on: it will be the end of `text` */
    bool blank_cr;       /* an empty line before the request has begun */
    bool protocol_known; /* "HTTP/" was found */
    bool no_body;
    bool until_close;
    bool in_chunk; /* requests: its header was read, and not its end */
};

static int fail(struct http_parser *p, int code, const char *text)
{
    (void)err_set(&p->error, code, "%s", text); /* returned by the next line */
    return HPE_USER;
}

static struct http_parser *parser_of(llhttp_t *ll)
{
    return ll->data;
}

static bool reads_requests(const struct http_parser *p)
{
    return p->ll.type == HTTP_REQUEST;
}

/* --- callbacks of llhttp
 * --------------------------------------------------------------------------- */

/* A piece of an item: where all of it will stand in `text`. */
static int add_piece(struct http_parser *p, uint32_t *at, uint32_t *len, const char *piece,
                     size_t n)
{
    /* At most HTTP_HEAD_BYTES_MAX in all. */
    uint32_t offset = (uint32_t)(buf_len(&p->text) + (size_t)(piece - p->base));

    if (*len == 0) {
        *at = offset;
    } else if (offset != *at + *len) {
        return fail(p, MCP_EBAD_REQUEST, "a header on more than one line");
    }
    *len += (uint32_t)n;
    return 0;
}

/* The bytes before `at`, of which the first may be from earlier inputs; 0 before the head. */
static void look_back(const struct http_parser *p, const char *at, char *out, size_t n)
{
    struct slice before = buf_slice(&p->text);
    size_t here = (size_t)(at - p->base);

    for (size_t back = n; back > 0; back--) {
        if (back <= here) {
            *out++ = at[-(ptrdiff_t)back];
        } else {
            *out++ = back - here <= before.len ? before.ptr[before.len - (back - here)] : '\0';
        }
    }
}

static int on_first(llhttp_t *ll, const char *at, size_t n)
{
    struct http_parser *p = parser_of(ll);

    if (reads_requests(p) && p->first_len == 0 && n > 0) {
        char before[2];

        look_back(p, at, before, sizeof(before));
        if (before[0] == ' ') {
            p->fault = "more than one space before the target";
        }
    }
    return add_piece(p, &p->first_at, &p->first_len, at, n);
}

/* llhttp also reads RTSP/1.0 and ICE/1.0 and does not tell. */
static int on_version(llhttp_t *ll, const char *at, size_t n)
{
    struct http_parser *p = parser_of(ll);
    char before[LOOK_BACK];

    (void)n;
    if (p->protocol_known) {
        return 0;
    }
    look_back(p, at, before, sizeof(before));
    if (memcmp(before + 2, "HTTP/", 5) != 0) {
        p->fault = "not HTTP";
    } else if (reads_requests(p) && before[0] == ' ') {
        p->fault = "more than one space before the version";
    }
    p->protocol_known = true;
    return 0;
}

/* Faults found in a piece are told when all of the item is there: were they told at once, llhttp's
 * own complaint about the rest of it would come or not as the input is cut. */
static int on_item_complete(llhttp_t *ll)
{
    struct http_parser *p = parser_of(ll);

    return p->fault == NULL ? 0 : fail(p, MCP_EBAD_REQUEST, p->fault);
}

enum { FIELD_BYTES = sizeof(struct http_header) + sizeof(struct field) };

static void release_fields(struct http_parser *p)
{
    block_put(p->headers, p->field_cap * FIELD_BYTES);
    p->fields = NULL;
    p->headers = NULL;
    p->field_cap = 0;
}

static bool grow_fields(struct http_parser *p)
{
    size_t cap = p->field_cap == 0 ? FIRST_FIELDS : p->field_cap * 2;
    struct http_header *headers = block_get(cap * FIELD_BYTES);
    struct field *fields;

    if (headers == NULL) {
        return false;
    }
    fields = (struct field *)(void *)(headers + cap);
    if (p->field_count > 0) {
        memcpy(fields, p->fields, p->field_count * sizeof(*fields));
    }
    release_fields(p);
    p->fields = fields;
    p->headers = headers; /* filled when the head is complete */
    p->field_cap = cap;
    return true;
}

static int on_field(llhttp_t *ll, const char *at, size_t n)
{
    struct http_parser *p = parser_of(ll);
    struct field *f;

    if (p->state == STATE_BODY) {
        return 0; /* trailers are dropped */
    }
    if (!p->in_name) {
        if (p->field_count == p->field_cap && !grow_fields(p)) {
            return fail(p, MCP_ENOMEM, "out of memory");
        }
        p->fields[p->field_count++] = (struct field){0};
        p->in_name = true;
    }
    f = &p->fields[p->field_count - 1];
    return add_piece(p, &f->name_at, &f->name_len, at, n);
}

static int on_field_complete(llhttp_t *ll)
{
    struct http_parser *p = parser_of(ll);

    if (p->state != STATE_BODY) {
        if (p->field_count > HTTP_HEADERS_MAX) {
            return fail(p, MCP_ETOO_LARGE, "too many headers");
        }
        p->in_name = false;
    }
    return 0;
}

static int on_value(llhttp_t *ll, const char *at, size_t n)
{
    struct http_parser *p = parser_of(ll);
    struct field *f;

    if (p->state == STATE_BODY) {
        return 0;
    }
    f = &p->fields[p->field_count - 1];
    return add_piece(p, &f->value_at, &f->value_len, at, n);
}

static int on_headers_complete(llhttp_t *ll)
{
    parser_of(ll)->found = FOUND_HEAD;
    return HPE_PAUSED;
}

static int on_body(llhttp_t *ll, const char *at, size_t n)
{
    struct http_parser *p = parser_of(ll);

    if (n == 0) {
        return 0;
    }
    p->body = slice_of(at, n);
    p->found = FOUND_BODY;
    return HPE_PAUSED;
}

static int on_message_complete(llhttp_t *ll)
{
    parser_of(ll)->found = FOUND_END;
    return HPE_PAUSED;
}

static int on_chunk_header(llhttp_t *ll)
{
    parser_of(ll)->in_chunk = true;
    return 0;
}

static int on_chunk_complete(llhttp_t *ll)
{
    parser_of(ll)->in_chunk = false;
    return 0;
}

#define CALLBACKS                                                                                  \
    .on_url = on_first, .on_status = on_first, .on_url_complete = on_item_complete,                \
    .on_version = on_version, .on_version_complete = on_item_complete,                             \
    .on_header_field = on_field, .on_header_field_complete = on_field_complete,                    \
    .on_header_value = on_value, .on_headers_complete = on_headers_complete, .on_body = on_body,   \
    .on_message_complete = on_message_complete

static const llhttp_settings_t response_settings = {CALLBACKS};
static const llhttp_settings_t request_settings = {
    CALLBACKS,
    .on_chunk_header = on_chunk_header,
    .on_chunk_complete = on_chunk_complete,
};

/* --- life
 * ------------------------------------------------------------------------------------------ */

struct http_parser *http_parser_new(enum http_role role)
{
    struct http_parser *p = calloc(1, sizeof(*p));

    if (p != NULL) {
        if (role == HTTP_PARSE_REQUESTS) {
            llhttp_init(&p->ll, HTTP_REQUEST, &request_settings);
        } else {
            llhttp_init(&p->ll, HTTP_RESPONSE, &response_settings);
        }
        llhttp_set_lenient_version(&p->ll, role == HTTP_PARSE_REQUESTS); /* see head_fault */
        p->ll.data = p;
    }
    return p;
}

void http_parser_free(struct http_parser **p)
{
    if (*p != NULL) {
        buf_fini(&(*p)->text);
        release_fields(*p);
        free(*p);
        *p = NULL;
    }
}

void http_parser_no_body(struct http_parser *p)
{
    p->no_body = true;
}

uint64_t http_parser_announced(const struct http_parser *p)
{
    return p->in_chunk ? p->ll.content_length : 0;
}

bool http_parser_idle(const struct http_parser *p)
{
    return p->state == STATE_IDLE;
}

void http_parser_release(struct http_parser *p)
{
    ASSERT(p->state == STATE_IDLE);
    buf_release(&p->text);
    release_fields(p);
    p->field_count = 0;
    p->head = (struct http_head){0};
}

/* Ready for another head. */
static void forget_head(struct http_parser *p)
{
    llhttp_reset(&p->ll);
    buf_clear(&p->text);
    p->first_at = p->first_len = 0;
    p->field_count = 0;
    p->in_name = false;
    p->protocol_known = false;
    p->fault = NULL;
    p->own_method = false;
    p->own_method_len = 0;
}

static void end_message(struct http_parser *p)
{
    p->state = STATE_IDLE;
    p->head_bytes = p->frame_bytes = 0;
    p->no_body = p->until_close = p->in_chunk = false;
}

/* --- the head
 * -------------------------------------------------------------------------------------- */

static size_t count_of(const struct http_head *head, struct slice name)
{
    size_t count = 0;

    if ((head->names & http_name_bit(name)) == 0) {
        return 0;
    }
    for (size_t i = 0; i < head->header_count; i++) {
        count += slice_eq_case(head->headers[i].name, name) ? 1 : 0;
    }
    return count;
}

static void resolve_head(struct http_parser *p)
{
    const char *text = buf_slice(&p->text).ptr;
    struct slice first = slice_of(text + p->first_at, p->first_len);
    struct http_head *head = &p->head;
    uint64_t names = 0;

    for (size_t i = 0; i < p->field_count; i++) {
        const struct field *f = &p->fields[i];

        p->headers[i].name = slice_of(text + f->name_at, f->name_len);
        p->headers[i].value = slice_trim(slice_of(text + f->value_at, f->value_len));
        names |= http_name_bit(p->headers[i].name);
    }
    *head = (struct http_head){.minor = p->ll.http_minor,
                               .headers = p->headers,
                               .header_count = p->field_count,
                               .names = names};
    if (reads_requests(p)) {
        head->method = p->own_method ? slice_of(text, p->own_method_len)
                                     : slice_str(llhttp_method_name((llhttp_method_t)p->ll.method));
        head->target = first;
        head->host = http_head_find(head, SLICE("Host"));
    } else {
        head->status = p->ll.status_code;
        head->reason = slice_trim(first);
    }
}

/* Of responses there is one kind of wrong. */
static int unsupported(struct http_parser *p, int code, const char *text)
{
    return err_set(&p->error, reads_requests(p) ? code : MCP_EBAD_REQUEST, "%s", text);
}

/* RFC 9110 2.5: a later minor version is read as the latest that is known. */
static int version_fault(struct http_parser *p)
{
    struct http_head *head = &p->head;

    if (!p->protocol_known) {
        return err_set(&p->error, MCP_EBAD_REQUEST, "no version in the request line");
    }
    if (p->ll.http_major != 1) {
        return unsupported(p, MCP_EUNSUPPORTED_VERSION, "unsupported protocol version");
    }
    head->minor = head->minor > 1 ? 1 : head->minor;
    return 0;
}

static int coding_fault(struct http_parser *p)
{
    const struct http_head *head = &p->head;
    size_t codings = count_of(head, SLICE("Transfer-Encoding"));

    if (codings == 0) {
        return 0;
    }
    if (head->minor == 0) {
        return err_set(&p->error, MCP_EBAD_REQUEST, "Transfer-Encoding in HTTP/1.0");
    }
    if (count_of(head, SLICE("Content-Length")) > 0) {
        return err_set(&p->error, MCP_EBAD_REQUEST, "Content-Length with Transfer-Encoding");
    }
    if (codings > 1 ||
        !slice_eq_case(http_head_find(head, SLICE("Transfer-Encoding")), SLICE("chunked"))) {
        return unsupported(p, MCP_EUNSUPPORTED_OP, "a Transfer-Encoding other than chunked");
    }
    return 0;
}

static int host_fault(struct http_parser *p)
{
    size_t hosts = count_of(&p->head, SLICE("Host"));

    if (hosts > 1) {
        return err_set(&p->error, MCP_EBAD_REQUEST, "more than one Host");
    }
    if (hosts == 0 && p->head.minor == 1) {
        return err_set(&p->error, MCP_EBAD_REQUEST, "missing required Host header");
    }
    if (!http_host_is_plain(p->head.host)) {
        return err_set(&p->error, MCP_EBAD_REQUEST, "malformed Host header");
    }
    return 0;
}

static int status_fault(struct http_parser *p)
{
    const struct http_head *head = &p->head;

    if (head->status < 100 || head->status == 101) {
        return err_set(&p->error, MCP_EBAD_REQUEST, "a status that cannot be");
    }
    for (size_t i = 0; i < head->reason.len; i++) {
        unsigned char c = (unsigned char)head->reason.ptr[i];

        if ((c < ' ' && c != '\t') || c == 0x7f) {
            return err_set(&p->error, MCP_EBAD_REQUEST, "control characters in the status line");
        }
    }
    return 0;
}

/* What RFC 9112 forbids and llhttp lets pass; for requests it lets any version pass, since its own
 * complaint would not say that that is all that is wrong. */
static int head_fault(struct http_parser *p)
{
    int rv = version_fault(p);

    if (rv == 0) {
        rv = coding_fault(p);
    }
    if (rv == 0) {
        rv = reads_requests(p) ? host_fault(p) : status_fault(p);
    }
    return rv;
}

static bool bodiless(const struct http_parser *p)
{
    unsigned status = p->head.status;

    return !reads_requests(p) && (p->no_body || status < 200 || status == 204 || status == 304);
}

static void read_framing(struct http_parser *p)
{
    struct http_head *head = &p->head;
    bool close = http_head_has_token(head, SLICE("Connection"), SLICE("close"));
    bool keep = http_head_has_token(head, SLICE("Connection"), SLICE("keep-alive"));

    head->chunked = count_of(head, SLICE("Transfer-Encoding")) > 0;
    head->has_length = (p->ll.flags & F_CONTENT_LENGTH) != 0;
    head->content_length = head->has_length ? p->ll.content_length : 0;
    p->until_close = !reads_requests(p) && !bodiless(p) && !head->chunked && !head->has_length;
    head->has_body = !bodiless(p) && (head->chunked || head->content_length > 0 || p->until_close);
    head->keep_alive = !p->until_close && !close && (head->minor == 1 || keep);
    head->expect_continue = head->minor == 1 && slice_eq_case(http_head_find(head, SLICE("Expect")),
                                                              SLICE("100-continue"));
    p->ll.upgrade = 0; /* never asked for, never granted: the message is read as any other */
}

/* The head is complete: an event, or a 1xx response to skip. */
static int finish_head(struct http_parser *p, struct http_event *ev)
{
    int rv;

    resolve_head(p);
    rv = head_fault(p);
    if (rv < 0) {
        return rv;
    }
    read_framing(p);
    if (!reads_requests(p) && p->head.status < 200) {
        forget_head(p);
        return 0;
    }
    p->state = p->head.has_body ? STATE_BODY : STATE_END_DUE;
    *ev = (struct http_event){.kind = HTTP_EV_HEAD, .head = &p->head};
    return 0;
}

/* --- feeding
 * --------------------------------------------------------------------------------------- */

/* RFC 9112 2.2: empty lines before a request are to be ignored. Returns bytes consumed or an error.
 */
static ptrdiff_t begin_message(struct http_parser *p, struct slice in)
{
    size_t at = 0;

    for (; at < in.len && p->head_bytes < HTTP_HEAD_BYTES_MAX; at++) {
        char c = in.ptr[at];

        if (p->blank_cr ? c != '\n' : c == '\n') {
            return err_set(&p->error, MCP_EBAD_REQUEST, "a line that does not end with CR LF");
        }
        if (!p->blank_cr && c != '\r') {
            break;
        }
        if (!reads_requests(p)) {
            return err_set(&p->error, MCP_EBAD_REQUEST, "an empty line before the response");
        }
        p->blank_cr = !p->blank_cr;
        p->head_bytes++;
    }
    if (at < in.len) {
        forget_head(p);
        p->state = STATE_HEAD;
    }
    return (ptrdiff_t)at;
}

/* RFC 9110 9.1: any token is a method, llhttp has a list. What it stumbled over is read here and
 * goes on there under another name, of which only the text is used. */
static bool try_own_method(struct http_parser *p, llhttp_errno_t rc)
{
    if (rc != HPE_INVALID_METHOD || p->state != STATE_HEAD || p->own_method || p->first_len > 0 ||
        p->protocol_known) {
        return false;
    }
    llhttp_reset(&p->ll);
    p->own_method = true;
    return true;
}

static bool in_own_method(const struct http_parser *p)
{
    return p->own_method && p->own_method_len == 0;
}

/* Its first bytes may be in `text` already. Returns bytes consumed or an error. */
static ptrdiff_t read_own_method(struct http_parser *p, struct slice in)
{
    static const char stand_in[] = "GET ";
    size_t before = buf_len(&p->text);
    size_t at = 0;

    while (at < in.len && http_is_token_char(in.ptr[at])) {
        at++;
    }
    if (at == in.len) {
        return (ptrdiff_t)at;
    }
    if (in.ptr[at] != ' ' || before + at == 0) {
        return err_set(&p->error, MCP_EBAD_REQUEST, "it does not begin with a method");
    }
    p->own_method_len = (uint32_t)(before + at); /* at most HTTP_HEAD_BYTES_MAX */
    p->base = stand_in;
    (void)llhttp_execute(&p->ll, stand_in, sizeof(stand_in) - 1);
    return (ptrdiff_t)(at + 1);
}

/* Lets llhttp work until it has found something, or to the end of `in`. Returns bytes consumed or
 * an error. */
static ptrdiff_t execute(struct http_parser *p, struct slice in)
{
    llhttp_errno_t rc;
    size_t used = in.len;

    p->found = FOUND_NOTHING;
    p->base = in.ptr;
    if (llhttp_get_errno(&p->ll) == HPE_PAUSED) {
        llhttp_resume(&p->ll);
    }
    rc = llhttp_execute(&p->ll, in.ptr, in.len);
    if (rc == HPE_PAUSED) {
        used = (size_t)(llhttp_get_error_pos(&p->ll) - in.ptr);
    } else if (p->error.code != 0) {
        return p->error.code;
    } else if (rc == HPE_PAUSED_H2_UPGRADE) {
        return err_set(&p->error, MCP_EUNSUPPORTED_VERSION, "unsupported protocol version");
    } else if (try_own_method(p, rc)) {
        return 0;
    } else if (rc != HPE_OK) {
        const char *reason = llhttp_get_error_reason(&p->ll);

        return err_set(&p->error, MCP_EBAD_REQUEST, "%s",
                       reason != NULL && reason[0] != '\0' ? reason : llhttp_errno_name(rc));
    }
    return (ptrdiff_t)used;
}

static ptrdiff_t feed_head(struct http_parser *p, struct slice in, struct http_event *ev)
{
    struct slice fits = slice_first(in, HTTP_HEAD_BYTES_MAX - p->head_bytes);
    ptrdiff_t used = in_own_method(p) ? read_own_method(p, fits) : execute(p, fits);

    if (used < 0) {
        return used;
    }
    p->head_bytes += (size_t)used;
    if (!buf_append(&p->text, slice_first(in, (size_t)used))) {
        return err_set(&p->error, MCP_ENOMEM, "out of memory");
    }
    if (p->found == FOUND_HEAD) {
        int rv = finish_head(p, ev);

        if (rv < 0) {
            return rv;
        }
    }
    if (p->state == STATE_HEAD && p->head_bytes == HTTP_HEAD_BYTES_MAX) {
        return err_set(&p->error, MCP_ETOO_LARGE, "the head is larger than %d bytes",
                       HTTP_HEAD_BYTES_MAX);
    }
    return used;
}

static ptrdiff_t feed_body(struct http_parser *p, struct slice in, struct http_event *ev)
{
    ptrdiff_t used = execute(p, in);

    if (used < 0) {
        return used;
    }
    p->frame_bytes += (size_t)used - (p->found == FOUND_BODY ? p->body.len : 0);
    if (p->frame_bytes > HTTP_HEAD_BYTES_MAX) {
        return err_set(&p->error, MCP_EBAD_REQUEST, "more than %d bytes around a chunk",
                       HTTP_HEAD_BYTES_MAX);
    }
    if (p->found == FOUND_BODY) {
        p->frame_bytes = 0;
        *ev = (struct http_event){.kind = HTTP_EV_BODY, .body = p->body};
    } else if (p->found == FOUND_END) {
        end_message(p);
        ev->kind = HTTP_EV_END;
    }
    return used;
}

ptrdiff_t http_parser_feed(struct http_parser *p, struct slice in, struct http_event *ev,
                           struct err *e)
{
    size_t total = 0;

    *ev = (struct http_event){.kind = HTTP_EV_MORE};
    if (in.len == 0) {
        in.ptr = ""; /* llhttp reckons with pointers */
    }
    if (p->error.code == 0 && p->state == STATE_END_DUE) {
        end_message(p);
        ev->kind = HTTP_EV_END;
        return 0;
    }
    while (p->error.code == 0) {
        struct slice rest = slice_skip(in, total);
        ptrdiff_t used;

        if (p->state == STATE_BODY) {
            used = feed_body(p, rest, ev);
        } else if (rest.len == 0) {
            return (ptrdiff_t)total;
        } else {
            used = p->state == STATE_IDLE ? begin_message(p, rest) : feed_head(p, rest, ev);
        }
        if (used >= 0) {
            total += (size_t)used;
            if (ev->kind != HTTP_EV_MORE || (p->state == STATE_BODY && total == in.len)) {
                return (ptrdiff_t)total;
            }
        }
    }
    if (e != NULL) {
        *e = p->error;
    }
    return p->error.code;
}

int http_parser_eof(struct http_parser *p, struct http_event *ev)
{
    *ev = (struct http_event){.kind = HTTP_EV_MORE};
    if (p->error.code != 0) {
        return p->error.code;
    }
    if (p->state == STATE_IDLE && !p->blank_cr) {
        return 0;
    }
    if (p->state == STATE_END_DUE || (p->state == STATE_BODY && p->until_close)) {
        end_message(p);
        ev->kind = HTTP_EV_END;
        return 0;
    }
    return MCP_ECLOSED;
}
