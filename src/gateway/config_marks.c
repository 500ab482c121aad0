/* SPDX-License-Identifier: Apache-2.0 */
#include "gateway/config_marks.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"

enum { DEPTH_MAX = 8 };

struct walk {
    struct config_marks *m;
    const char *name;
    struct buf path;
    size_t depth;
    struct {
        size_t path_len; /* of the mapping's or list's own path */
        size_t line;
        size_t entries;
        bool is_list;
        bool at_value; /* in a mapping: the next event is the value of the key in the path */
    } stack[DEPTH_MAX];
    size_t documents;
};

static int fail_at(const struct walk *w, size_t line, struct err *e, const char *text)
{
    return err_set(e, MCP_EARGUMENT, "%s:%zu: %s", w->name, line, text);
}

static int no_memory(const struct walk *w, struct err *e)
{
    return err_set(e, MCP_ENOMEM, "%s: out of memory", w->name);
}

static void cut_path(struct buf *path, size_t len)
{
    path->tail = path->head + len;
}

static bool note_event(struct walk *w, yaml_event_type_t type, size_t line)
{
    struct config_marks *m = w->m;

    if ((m->count & (m->count + 1)) == 0) { /* full at 0, 1, 3, 7, 15... */
        struct config_mark *marks = realloc(m->marks, (2 * m->count + 1) * sizeof(*marks));

        if (marks == NULL) {
            return false;
        }
        m->marks = marks;
    }
    m->marks[m->count] = (struct config_mark){
        .line = line,
        .type = type,
        .parent_len = w->depth == 0 ? 0 : w->stack[w->depth - 1].path_len,
        .path = slice_dup(buf_slice(&w->path)),
    };
    return m->marks[m->count++].path != NULL;
}

/* Puts the path of what begins here in place. An over-long key is cut: it is unknown anyhow, and no
 * name of a route or a model is so long. */
static void enter(struct walk *w, const yaml_event_t *event)
{
    size_t i = w->depth - 1;

    if (w->depth == 0) {
        return;
    }
    if (w->stack[i].is_list) {
        cut_path(&w->path, w->stack[i].path_len);
        (void)buf_printf(&w->path, "[%zu]", w->stack[i].entries++);
    } else if (!w->stack[i].at_value) {
        cut_path(&w->path, w->stack[i].path_len);
        (void)buf_printf(&w->path, "%s%.100s", w->stack[i].path_len == 0 ? "" : ".",
                         (const char *)event->data.scalar.value);
        w->stack[i].at_value = true;
    } else {
        w->stack[i].at_value = false;
    }
}

static int walk_scalar(struct walk *w, const yaml_event_t *event, size_t line, struct err *e)
{
    if (strlen((const char *)event->data.scalar.value) != event->data.scalar.length) {
        return fail_at(w, line, e, "a text with a zero byte");
    }
    enter(w, event);
    return MCP_OK;
}

static int walk_begin(struct walk *w, const yaml_event_t *event, size_t line, struct err *e)
{
    if (w->depth == DEPTH_MAX) {
        return fail_at(w, line, e, "nested too deep");
    }
    if (w->depth > 0 && !w->stack[w->depth - 1].is_list && !w->stack[w->depth - 1].at_value) {
        return fail_at(w, line, e, "expected a key, not a list or mapping");
    }
    enter(w, event);
    w->stack[w->depth].path_len = buf_len(&w->path);
    w->stack[w->depth].line = line;
    w->stack[w->depth].entries = 0;
    w->stack[w->depth].is_list = event->type == YAML_SEQUENCE_START_EVENT;
    w->stack[w->depth].at_value = false;
    w->depth++;
    return MCP_OK;
}

static int walk_event(struct walk *w, const yaml_event_t *event, struct err *e)
{
    size_t line = event->start_mark.line + 1;
    int rc = MCP_OK;

    switch (event->type) {
    case YAML_ALIAS_EVENT:
        rc = fail_at(w, line, e, "aliases (*name) are not supported");
        break;
    case YAML_DOCUMENT_START_EVENT:
        if (w->documents++ > 0) {
            rc = fail_at(w, line, e, "a second document; expected one");
        }
        break;
    case YAML_SCALAR_EVENT:
        rc = walk_scalar(w, event, line, e);
        break;
    case YAML_MAPPING_START_EVENT:
    case YAML_SEQUENCE_START_EVENT:
        rc = walk_begin(w, event, line, e);
        break;
    case YAML_MAPPING_END_EVENT:
    case YAML_SEQUENCE_END_EVENT:
        w->depth--;
        cut_path(&w->path, w->stack[w->depth].path_len);
        line = w->stack[w->depth].line;
        break;
    default:
        break;
    }
    if (rc == MCP_OK && (!note_event(w, event->type, line) || buf_failed(&w->path))) {
        rc = no_memory(w, e);
    }
    return rc;
}

int config_marks_read(struct config_marks *m, const char *name, struct slice text, struct err *e)
{
    struct walk w = {.m = m, .name = name};
    yaml_parser_t parser;
    bool end = false;
    int rc = MCP_OK;

    if (!yaml_parser_initialize(&parser)) {
        return no_memory(&w, e);
    }
    yaml_parser_set_input_string(&parser, (const unsigned char *)text.ptr, text.len);
    while (rc == MCP_OK && !end) {
        yaml_event_t event;

        if (!yaml_parser_parse(&parser, &event)) {
            if (parser.error == YAML_MEMORY_ERROR) {
                rc = no_memory(&w, e);
                break;
            }
            rc = err_set(e, MCP_EARGUMENT, "%s:%zu: not YAML: %s", name,
                         parser.problem_mark.line + 1,
                         parser.problem == NULL ? "cannot be read" : parser.problem);
            break;
        }
        end = event.type == YAML_STREAM_END_EVENT;
        rc = walk_event(&w, &event, e);
        yaml_event_delete(&event);
    }
    yaml_parser_delete(&parser);
    buf_fini(&w.path);
    return rc;
}

void config_marks_fini(struct config_marks *m)
{
    for (size_t i = 0; i < m->count; i++) {
        free(m->marks[i].path);
    }
    free(m->marks);
    *m = (struct config_marks){0};
}

const struct config_mark *config_marks_find(const struct config_marks *m, const char *path,
                                            size_t len)
{
    for (size_t i = 0; i < m->count; i++) {
        if (strlen(m->marks[i].path) == len && memcmp(m->marks[i].path, path, len) == 0) {
            return &m->marks[i];
        }
    }
    return NULL;
}
