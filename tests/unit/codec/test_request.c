/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <yyjson.h>

#include "alloc_fault.h"
#include "codec/request.h"
#include "request_check.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

/* Reads and infers the operation; 0 or the code of what failed first. */
static int read_op(struct slice body, enum op *op)
{
    struct request r;
    struct err e = {0};
    int code = request_read(&r, body, REQUEST_FROM_MCP, &e);

    if (code == MCP_OK) {
        code = request_op(&r, op, &e);
    }
    assert_true(code == MCP_OK || (e.code == code && e.text[0] != '\0'));
    return code;
}

/* --- tests/vectors/wire.json --- */

static size_t unhex(const char *hex, unsigned char *out)
{
    size_t len = strlen(hex) / 2;

    for (size_t i = 0; i < len; i++) {
        char digits[3] = {hex[2 * i], hex[2 * i + 1], '\0'};

        out[i] = (unsigned char)strtoul(digits, NULL, 16);
    }
    return len;
}

/* True where the vector is about the payload of one whole REQUEST on a session. */
static bool check_vector(const char *name, const unsigned char *frame, size_t len,
                         yyjson_val *expect)
{
    const char *wanted_op = yyjson_get_str(yyjson_obj_get(expect, "op"));
    const char *wanted_error = yyjson_get_str(yyjson_obj_get(expect, "error"));
    struct slice body = slice_of(frame + 10, len - 10);
    size_t length =
        (size_t)frame[6] << 24 | (size_t)frame[7] << 16 | (size_t)frame[8] << 8 | (size_t)frame[9];
    enum op op = OP_NONE;
    int code;

    if (length != body.len || memcmp(frame + 2, "\0\0\0\0", 4) == 0) {
        return false;
    }
    code = read_op(body, &op);
    if (wanted_op != NULL) {
        request_check_code(slice_str(name), code, MCP_OK);
        assert_string_equal(op_info(op)->name, wanted_op);
    } else if (strcmp(wanted_error, "unknown_model") == 0) {
        request_check_code(slice_str(name), code, MCP_OK); /* for the catalogue to say */
    } else {
        request_check_code(slice_str(name), code,
                           mcp_error_from_name(wanted_error, strlen(wanted_error)));
    }
    return true;
}

static void wire_vectors(void **state)
{
    yyjson_doc *doc = yyjson_read_file(MCPGATE_VECTORS "/wire.json", 0, NULL, NULL);
    yyjson_val *vectors = yyjson_obj_get(yyjson_doc_get_root(doc), "vectors");
    size_t checked = 0;
    size_t i;
    size_t max;
    yyjson_val *vector;

    (void)state;
    assert_non_null(vectors);
    yyjson_arr_foreach(vectors, i, max, vector)
    {
        const char *name = yyjson_get_str(yyjson_obj_get(vector, "name"));
        const char *hex = yyjson_get_str(yyjson_obj_get(vector, "hex"));

        if (strncmp(name, "request_", 8) == 0 || strncmp(name, "payload_", 8) == 0) {
            unsigned char *frame = malloc(strlen(hex) / 2 + 1);
            size_t len;

            assert_non_null(frame);
            len = unhex(hex, frame);
            checked += check_vector(name, frame, len, yyjson_obj_get(vector, "expect"));
            free(frame);
        }
    }
    assert_true(checked >= 15);
    yyjson_doc_free(doc);
}

/* --- one reading --- */

static void where_things_stand(void **state)
{
    struct slice body = SLICE(" {\"x\":1, \"model\" : \"m\",\"mcp\":{} , \"prompt\":\"p\"}");
    struct request r;
    struct err e;

    (void)state;
    assert_int_equal(request_read(&r, body, REQUEST_FROM_MCP, &e), MCP_OK);
    assert_int_equal(r.open, 2);
    assert_int_equal(r.member_count, 4);
    assert_true(request_has(&r, REQUEST_MODEL));
    assert_false(request_has(&r, REQUEST_MESSAGES));
    assert_true(slice_eq(r.members[REQUEST_MODEL].value, SLICE("\"m\"")));
    assert_int_equal(r.members[REQUEST_MODEL].start, 9);
    assert_int_equal(r.mcp_prev_end, 22);
    assert_int_equal(r.mcp_next_start, 34);
    assert_int_equal(r.mcp.op, OP_NONE);
    assert_null(r.mcp.tags.ptr);
}

static void what_is_no_object(void **state)
{
    static const struct slice bodies[] = {
        SLICE(""),
        SLICE(" "),
        SLICE("null"),
        SLICE("[]"),
        SLICE("\"{}\""),
        SLICE("{"),
        SLICE("{}x"),
        SLICE("{}{}"),
        SLICE("{\"a\":1,}"),
        SLICE("{'a':1}"),
        SLICE("{}\0"),
        SLICE("\xFF\xFE{"),
        SLICE("\xEF\xBB\xBF{}"),
        SLICE("{\"a\":\"\xFF\"}"),
    };

    (void)state;
    for (size_t i = 0; i < COUNT(bodies); i++) {
        request_check_code(bodies[i], request_check_read(bodies[i], REQUEST_FROM_MCP),
                           MCP_EBAD_REQUEST);
        request_check_code(bodies[i], request_check_read(bodies[i], REQUEST_FROM_HTTP),
                           MCP_EBAD_REQUEST);
    }
    assert_int_equal(request_check_read((struct slice){NULL, 0}, REQUEST_FROM_MCP),
                     MCP_EBAD_REQUEST);
    assert_int_equal(request_read(&(struct request){0}, SLICE("["), REQUEST_FROM_MCP, NULL),
                     MCP_EBAD_REQUEST);
}

static void depth_is_limited(void **state)
{
    char body[600];
    size_t len = 0;

    (void)state;
    for (int depth = 127; depth <= 128; depth++) {
        len = (size_t)snprintf(body, sizeof(body), "{\"prompt\":");
        memset(body + len, '[', (size_t)depth);
        memset(body + len + depth, ']', (size_t)depth);
        len += 2 * (size_t)depth;
        body[len++] = '}';
        assert_int_equal(request_check_read(slice_of(body, len), REQUEST_FROM_MCP),
                         depth == 127 ? MCP_OK : MCP_EBAD_REQUEST);
    }
}

static const struct slice guarded[] = {
#define KEY(name, text) SLICE(text),
    REQUEST_KEYS(KEY)
#undef KEY
};

/* Reads {"KEY":VALUE,"other":1} and the same the other way round. */
static int read_with_key(struct slice key)
{
    struct buf body;
    int code;

    buf_init(&body, 0);
    assert_true(buf_printf(&body, "{\"%.*s\":{},\"other\":1}", SLICE_ARG(key)));
    code = request_check_read(buf_slice(&body), REQUEST_FROM_HTTP);
    buf_clear(&body);
    assert_true(buf_printf(&body, "{\"other\":1,\"%.*s\":{}}", SLICE_ARG(key)));
    assert_int_equal(request_check_read(buf_slice(&body), REQUEST_FROM_HTTP), code);
    buf_fini(&body);
    return code;
}

/* `key` with its character at `at` written as `instead`. */
static int read_with_char(struct slice key, size_t at, const char *instead)
{
    char text[64];

    (void)snprintf(text, sizeof(text), "%.*s%s%s", (int)at, key.ptr, instead, key.ptr + at + 1);
    return read_with_key(slice_str(text));
}

static void guarded_keys_are_plain(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(guarded); i++) {
        struct slice key = guarded[i];

        request_check_code(key, read_with_key(key), MCP_OK);
        for (size_t at = 0; at < key.len; at++) {
            char other[8];

            (void)snprintf(other, sizeof(other), "\\u%04x", (unsigned)key.ptr[at]);
            request_check_code(key, read_with_char(key, at, other), MCP_EBAD_REQUEST);
            (void)snprintf(other, sizeof(other), "\\u%04X", (unsigned)key.ptr[at]);
            request_check_code(key, read_with_char(key, at, other), MCP_EBAD_REQUEST);
            if (key.ptr[at] != '_') {
                (void)snprintf(other, sizeof(other), "%c", key.ptr[at] - 'a' + 'A');
                request_check_code(key, read_with_char(key, at, other), MCP_EBAD_REQUEST);
                (void)snprintf(other, sizeof(other), "\\u%04x",
                               (unsigned)(key.ptr[at] - 'a' + 'A'));
                request_check_code(key, read_with_char(key, at, other), MCP_EBAD_REQUEST);
            }
            request_check_code(key, read_with_char(key, at, "\xC5\xBF"),
                               key.ptr[at] == 's' ? MCP_EBAD_REQUEST : MCP_OK);
            request_check_code(key, read_with_char(key, at, "\\u017f"),
                               key.ptr[at] == 's' ? MCP_EBAD_REQUEST : MCP_OK);
            request_check_code(key, read_with_char(key, at, "\xE2\x84\xAA"),
                               key.ptr[at] == 'k' ? MCP_EBAD_REQUEST : MCP_OK);
            request_check_code(key, read_with_char(key, at, "\\u212A"),
                               key.ptr[at] == 'k' ? MCP_EBAD_REQUEST : MCP_OK);
            /* Not the same key to anyone: a full-width m, a mathematical m, a NUL, nothing. */
            request_check_code(key, read_with_char(key, at, "\xEF\xBD\x8D"), MCP_OK);
            request_check_code(key, read_with_char(key, at, "\\ud835\\udc26"), MCP_OK);
            request_check_code(key, read_with_char(key, at, "\\u0000"), MCP_OK);
            request_check_code(key, read_with_char(key, at, "\\ud835"), MCP_OK);
            request_check_code(key, read_with_char(key, at, "~"), MCP_OK);
        }
    }
}

static void guarded_keys_are_there_once(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(guarded); i++) {
        char body[128];
        int key_len = (int)guarded[i].len;
        const char *key = guarded[i].ptr;

        (void)snprintf(body, sizeof(body), "{\"%.*s\":1,\"x\":2,\"%.*s\":1}", key_len, key, key_len,
                       key);
        request_check_code(guarded[i], request_check_read(slice_str(body), REQUEST_FROM_HTTP),
                           MCP_EBAD_REQUEST);
        (void)snprintf(body, sizeof(body), "{\"x\":{\"%.*s\":1,\"%.*s\":2}}", key_len, key, key_len,
                       key);
        request_check_code(guarded[i], request_check_read(slice_str(body), REQUEST_FROM_HTTP),
                           MCP_OK);
    }
    assert_int_equal(
        request_check_read(SLICE("{\"x\":1,\"x\":2,\"X\":3,\"\\u0078\":4}"), REQUEST_FROM_MCP),
        MCP_OK);
}

static void cut_short_anywhere_is_refused(void **state)
{
    struct slice body =
        SLICE("{\"model\":\"m\",\"mcp\":{\"op\":\"chat\",\"tags\":{\"a\":\"b\"}},\"messages\":[]}");

    (void)state;
    for (size_t len = 0; len < body.len; len++) {
        assert_int_equal(request_check_read(slice_first(body, len), REQUEST_FROM_MCP),
                         MCP_EBAD_REQUEST);
    }
    assert_int_equal(request_check_read(body, REQUEST_FROM_MCP), MCP_OK);
}

/* --- what it asks for --- */

static void operations(void **state)
{
    static const struct {
        struct slice body;
        int code;
        enum op op;
    } cases[] = {
        {SLICE("{\"prompt\":\"\"}"), MCP_OK, OP_GENERATE},
        {SLICE("{\"messages\":[]}"), MCP_OK, OP_CHAT},
        {SLICE("{\"input\":\"\"}"), MCP_OK, OP_EMBED},
        {SLICE("{\"prompt\":\"\",\"input\":\"\",\"messages\":[]}"), MCP_OK, OP_CHAT},
        {SLICE("{\"prompt\":\"\",\"input\":\"\"}"), MCP_OK, OP_EMBED},
        {SLICE("{\"messages\":null,\"prompt\":\"a\"}"), MCP_OK, OP_GENERATE},
        {SLICE("{\"messages\":null}"), MCP_EBAD_REQUEST, OP_NONE},
        {SLICE("{}"), MCP_EBAD_REQUEST, OP_NONE},
        {SLICE("{\"mcp\":{}}"), MCP_EBAD_REQUEST, OP_NONE},
        {SLICE("{\"model\":\"m\",\"op\":\"chat\"}"), MCP_EBAD_REQUEST, OP_NONE},
        {SLICE("{\"prompt\":\"\",\"mcp\":{\"op\":\"embeddings\"}}"), MCP_OK, OP_EMBEDDINGS},
        {SLICE("{\"mcp\":{\"op\":\"health\"}}"), MCP_OK, OP_HEALTH},
        {SLICE("{\"mcp\":{\"op\":\"ps\"},\"model\":1}"), MCP_OK, OP_PS},
        {SLICE("{\"mcp\":{\"op\":\"fly\"}}"), MCP_EUNSUPPORTED_OP, OP_NONE},
        {SLICE("{\"mcp\":{\"op\":\"\"},\"prompt\":\"\"}"), MCP_EUNSUPPORTED_OP, OP_NONE},
        {SLICE("{\"mcp\":{\"op\":\"Chat\"}}"), MCP_EUNSUPPORTED_OP, OP_NONE},
        {SLICE("{\"mcp\":{\"op\":\"chat\\u0000\"}}"), MCP_EUNSUPPORTED_OP, OP_NONE},
        {SLICE("{\"mcp\":{\"op\":\"show\"},\"model\":\"m\"}"), MCP_OK, OP_SHOW},
        {SLICE("{\"mcp\":{\"op\":\"show\"},\"name\":\"m\"}"), MCP_OK, OP_SHOW},
        {SLICE("{\"mcp\":{\"op\":\"show\"},\"model\":\"\",\"name\":\"m\"}"), MCP_OK, OP_SHOW},
        {SLICE("{\"mcp\":{\"op\":\"show\"},\"model\":null,\"name\":\"m\"}"), MCP_OK, OP_SHOW},
        {SLICE("{\"mcp\":{\"op\":\"show\"},\"model\":\"\"}"), MCP_EBAD_REQUEST, OP_NONE},
        {SLICE("{\"mcp\":{\"op\":\"show\"},\"model\":1,\"name\":\"m\"}"), MCP_EBAD_REQUEST,
         OP_NONE},
        {SLICE("{\"mcp\":{\"op\":\"show\"}}"), MCP_EBAD_REQUEST, OP_NONE},
        {SLICE("{\"mcp\":{\"op\":\"pull\"}}"), MCP_EBAD_REQUEST, OP_NONE},
        {SLICE("{\"mcp\":{\"op\":\"push\"}}"), MCP_EBAD_REQUEST, OP_NONE},
        {SLICE("{\"mcp\":{\"op\":\"create\"}}"), MCP_EBAD_REQUEST, OP_NONE},
        {SLICE("{\"mcp\":{\"op\":\"delete\"}}"), MCP_EBAD_REQUEST, OP_NONE},
        {SLICE("{\"mcp\":{\"op\":\"delete\"},\"model\":\"m\"}"), MCP_OK, OP_DELETE},
        {SLICE("{\"mcp\":{\"op\":\"copy\"},\"source\":\"a\",\"destination\":\"b\"}"), MCP_OK,
         OP_COPY},
        {SLICE("{\"mcp\":{\"op\":\"copy\"},\"source\":\"a\"}"), MCP_EBAD_REQUEST, OP_NONE},
        {SLICE("{\"mcp\":{\"op\":\"copy\"},\"model\":\"a\",\"destination\":\"b\"}"),
         MCP_EBAD_REQUEST, OP_NONE},
        {SLICE("{\"mcp\":{\"op\":\"copy\"},\"source\":\"a\",\"destination\":\"\"}"),
         MCP_EBAD_REQUEST, OP_NONE},
        {SLICE("{\"mcp\":{\"op\":\"copy\"},\"source\":\"a\",\"destination\":1}"), MCP_EBAD_REQUEST,
         OP_NONE},
    };

    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        enum op op = OP_NONE;

        request_check_code(cases[i].body, read_op(cases[i].body, &op), cases[i].code);
        if (cases[i].code == MCP_OK) {
            assert_int_equal(op, cases[i].op);
        }
    }
}

static void models(void **state)
{
    static const struct {
        struct slice body;
        enum op op;
        int code;
        struct slice model;
    } cases[] = {
        {SLICE("{\"model\":\"llama3:8b\"}"), OP_CHAT, MCP_OK, SLICE("llama3:8b")},
        {SLICE("{\"model\":\"m\\u0000x\"}"), OP_CHAT, MCP_OK, SLICE("m\0x")},
        {SLICE("{\"model\":\"\\u006c\\/\"}"), OP_EMBED, MCP_OK, SLICE("l/")},
        {SLICE("{\"name\":\"n\"}"), OP_CHAT, MCP_OK, SLICE("")},
        {SLICE("{\"name\":\"n\"}"), OP_PULL, MCP_OK, SLICE("n")},
        {SLICE("{\"name\":\"n\",\"model\":\"m\"}"), OP_DELETE, MCP_OK, SLICE("m")},
        {SLICE("{\"name\":\"n\",\"model\":\"\"}"), OP_SHOW, MCP_OK, SLICE("n")},
        {SLICE("{\"name\":1,\"model\":\"m\"}"), OP_SHOW, MCP_OK, SLICE("m")},
        {SLICE("{\"name\":1}"), OP_SHOW, MCP_EBAD_REQUEST, SLICE("")},
        {SLICE("{\"name\":1}"), OP_CHAT, MCP_OK, SLICE("")},
        {SLICE("{\"source\":\"s\",\"model\":\"m\"}"), OP_COPY, MCP_OK, SLICE("s")},
        {SLICE("{\"source\":{}}"), OP_COPY, MCP_EBAD_REQUEST, SLICE("")},
        {SLICE("{\"model\":null}"), OP_GENERATE, MCP_OK, SLICE("")},
        {SLICE("{\"model\":5}"), OP_GENERATE, MCP_EBAD_REQUEST, SLICE("")},
        {SLICE("{\"model\":[\"m\"]}"), OP_GENERATE, MCP_EBAD_REQUEST, SLICE("")},
        {SLICE("{}"), OP_GENERATE, MCP_OK, SLICE("")},
    };
    struct buf model;

    (void)state;
    buf_init(&model, 0);
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct request r;
        struct err e = {0};

        buf_clear(&model);
        assert_int_equal(request_read(&r, cases[i].body, REQUEST_FROM_MCP, &e), MCP_OK);
        request_check_code(cases[i].body, request_model(&r, cases[i].op, &model, &e),
                           cases[i].code);
        assert_true(slice_eq(buf_slice(&model), cases[i].model));
    }
    buf_fini(&model);
}

static void models_without_memory(void **state)
{
    struct request r;
    struct err e = {0};
    struct buf model;

    (void)state;
    buf_init(&model, 0);
    assert_int_equal(request_read(&r, SLICE("{\"model\":\"m\"}"), REQUEST_FROM_MCP, &e), MCP_OK);
    alloc_fault_at(1);
    assert_int_equal(request_model(&r, OP_CHAT, &model, &e), MCP_ENOMEM);
    alloc_fault_at(0);
    assert_int_equal(e.code, MCP_ENOMEM);
    buf_fini(&model);
}

static void streams(void **state)
{
    static const struct {
        struct slice body;
        enum op op;
        int code;
        bool streams;
    } cases[] = {
        {SLICE("{}"), OP_CHAT, MCP_OK, true},
        {SLICE("{}"), OP_GENERATE, MCP_OK, true},
        {SLICE("{}"), OP_PULL, MCP_OK, true},
        {SLICE("{}"), OP_EMBED, MCP_OK, false},
        {SLICE("{}"), OP_LIST, MCP_OK, false},
        {SLICE("{\"stream\":true}"), OP_CHAT, MCP_OK, true},
        {SLICE("{\"stream\":false}"), OP_CHAT, MCP_OK, false},
        {SLICE("{\"stream\":false}"), OP_CREATE, MCP_OK, false},
        {SLICE("{\"stream\":null}"), OP_CHAT, MCP_OK, true},
        {SLICE("{\"stream\":true}"), OP_EMBED, MCP_OK, false},
        {SLICE("{\"stream\":\"x\"}"), OP_EMBED, MCP_OK, false},
        {SLICE("{\"stream\":\"false\"}"), OP_CHAT, MCP_EBAD_REQUEST, false},
        {SLICE("{\"stream\":0}"), OP_CHAT, MCP_EBAD_REQUEST, false},
        {SLICE("{\"stream\":[]}"), OP_PUSH, MCP_EBAD_REQUEST, false},
    };

    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct request r;
        struct err e = {0};
        bool yes = !cases[i].streams;

        assert_int_equal(request_read(&r, cases[i].body, REQUEST_FROM_MCP, &e), MCP_OK);
        request_check_code(cases[i].body, request_stream(&r, cases[i].op, &yes, &e), cases[i].code);
        if (cases[i].code == MCP_OK) {
            assert_int_equal(yes, cases[i].streams);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(wire_vectors),
        cmocka_unit_test(where_things_stand),
        cmocka_unit_test(what_is_no_object),
        cmocka_unit_test(depth_is_limited),
        cmocka_unit_test(guarded_keys_are_plain),
        cmocka_unit_test(guarded_keys_are_there_once),
        cmocka_unit_test(cut_short_anywhere_is_refused),
        cmocka_unit_test(operations),
        cmocka_unit_test(models),
        cmocka_unit_test(models_without_memory),
        cmocka_unit_test(streams),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
