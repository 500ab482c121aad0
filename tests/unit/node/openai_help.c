/* SPDX-License-Identifier: Apache-2.0 */
#include "openai_help.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct openai_clock clock_after(uint64_t us)
{
    return (struct openai_clock){1000000 + us, 1767323045678901 + us};
}

void ask(struct asked *a, enum op op, const char *json, const char *inherited)
{
    struct request r = {0};
    const struct openai_ask given = {.op = op,
                                     .request = &r,
                                     .model = SLICE("m"),
                                     .node_model = SLICE("node-m"),
                                     .options = slice_str(inherited),
                                     .at = clock_after(0)};

    *a = (struct asked){0};
    a->rv = request_read(&r, slice_str(json), REQUEST_FROM_MCP, &a->e);
    if (a->rv < 0) {
        return;
    }
    a->rv = openai_request(&a->call, &given, &a->path, &a->body, &a->e);
    assert_true((a->rv == OPENAI_SEND) == (a->call != NULL));
    if (a->rv >= 0) {
        a->doc = parse(buf_slice(&a->body));
        assert_non_null(a->doc);
    }
}

void asked_fini(struct asked *a)
{
    openai_call_free(&a->call);
    buf_fini(&a->path);
    buf_fini(&a->body);
    yyjson_doc_free(a->doc);
    a->doc = NULL;
}

yyjson_doc *parse(struct slice json)
{
    return yyjson_read(json.ptr, json.len, 0);
}

yyjson_val *at_path(yyjson_val *root, const char *path)
{
    while (root != NULL && *path != '\0') {
        if (*path == '[') {
            char *end;

            root = yyjson_arr_get(root, strtoul(path + 1, &end, 10));
            path = end + 1;
        } else {
            size_t len = strcspn(path, ".[");

            root = yyjson_obj_getn(root, path, len);
            path += len;
        }
        path += *path == '.';
    }
    return root;
}

void assert_at(yyjson_doc *doc, const char *path, const char *json)
{
    yyjson_val *val = at_path(yyjson_doc_get_root(doc), path);
    yyjson_doc *want = json == NULL ? NULL : parse(slice_str(json));
    char *have = val == NULL ? NULL : yyjson_val_write(val, 0, NULL);

    if (json == NULL ? val != NULL : !yyjson_equals(val, yyjson_doc_get_root(want))) {
        fail_msg("%s is %s, not %s", path, have == NULL ? "absent" : have,
                 json == NULL ? "absent" : json);
    }
    free(have);
    yyjson_doc_free(want);
}

/* Every part is one JSON object on one line. */
static yyjson_doc *part_of(int rv, struct buf *out)
{
    yyjson_doc *doc = NULL;

    if (rv == OPENAI_PART || rv == OPENAI_LAST) {
        doc = parse(buf_slice(out));
        assert_non_null(doc);
        assert_true(yyjson_is_obj(yyjson_doc_get_root(doc)));
        assert_null(memchr(buf_slice(out).ptr, '\n', buf_len(out)));
    } else if (rv == OPENAI_ERROR) {
        yyjson_mut_doc *text = yyjson_mut_doc_new(NULL);

        yyjson_mut_doc_set_root(text, yyjson_mut_strncpy(text, buf_slice(out).ptr, buf_len(out)));
        doc = yyjson_mut_doc_imut_copy(text, NULL);
        yyjson_mut_doc_free(text);
    } else {
        assert_int_equal(buf_len(out), 0);
    }
    return doc;
}

int event(struct openai_call *call, const char *data, uint64_t us, yyjson_doc **doc)
{
    struct buf out = {0};
    int rv = openai_event(call, slice_str(data), clock_after(us), &out);

    *doc = part_of(rv, &out);
    buf_fini(&out);
    return rv;
}

int whole(struct openai_call *call, struct slice body, uint64_t us, yyjson_doc **doc)
{
    struct buf out = {0};
    int rv = openai_whole(call, body, clock_after(us), &out);

    *doc = rv >= 0 ? part_of(rv, &out) : NULL;
    buf_fini(&out);
    return rv;
}

static void append_chunks(struct slice rest, struct buf *body)
{
    for (;;) {
        char *end;
        size_t len = strtoul(rest.ptr, &end, 16);

        if (len == 0) {
            return;
        }
        rest = slice_skip(rest, (size_t)(end - rest.ptr) + 2);
        assert_true(buf_append(body, slice_first(rest, len)));
        rest = slice_skip(rest, len + 2);
    }
}

void fixture(const char *name, struct buf *body)
{
    char path[128];
    yyjson_doc *doc;
    const char *response;
    const char *head_end;

    (void)snprintf(path, sizeof(path), "tests/fixtures/llamacpp/%s.json", name);
    doc = yyjson_read_file(path, 0, NULL, NULL);
    response = yyjson_get_str(yyjson_obj_get(yyjson_doc_get_root(doc), "response"));
    assert_non_null(response);
    head_end = strstr(response, "\r\n\r\n");
    assert_non_null(head_end);
    if (memmem(response, (size_t)(head_end - response), "chunked", 7) != NULL) {
        append_chunks(slice_str(head_end + 4), body);
    } else {
        assert_true(buf_append_str(body, head_end + 4));
    }
    yyjson_doc_free(doc);
}

bool fixture_next(struct slice *events, struct slice *data)
{
    const char *end;

    if (events->len == 0) {
        return false;
    }
    end = memmem(events->ptr, events->len, "\n\n", 2);
    assert_non_null(end);
    *data = slice_of(events->ptr, (size_t)(end - events->ptr));
    *events = slice_skip(*events, data->len + 2);
    assert_true(slice_starts(*data, SLICE("data: ")));
    *data = slice_skip(*data, 6);
    return true;
}
