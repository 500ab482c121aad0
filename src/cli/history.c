/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/history.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <yyjson.h>

#include "cli/state.h"
#include "cli/text.h"

enum { ENTRIES_MAX = 1000, FILE_MAX_BYTES = 16 << 20, ENTRY_MAX_BYTES = 1 << 16 };

/* The entry that a line holds; lines that are none are skipped. */
static void add_entry(struct cli_words *entries, struct slice line)
{
    yyjson_doc *doc = yyjson_read(line.ptr, line.len, YYJSON_READ_NOFLAG);
    yyjson_val *root = yyjson_doc_get_root(doc);

    if (yyjson_is_str(root)) {
        cli_words_add(entries, slice_of(yyjson_get_str(root), yyjson_get_len(root)));
    }
    yyjson_doc_free(doc);
}

/* Where the newest entries begin. */
static size_t newest(struct slice text)
{
    size_t lines = 0;

    for (size_t at = text.len; at > 0; at--) {
        if (text.ptr[at - 1] == '\n' && lines++ == ENTRIES_MAX) {
            return at;
        }
    }
    return 0;
}

/* Gives the newest entries; a file that holds many more than that is made shorter. */
static void load(const char *path, struct cli_words *entries)
{
    struct buf text = {0};
    struct err e;
    struct slice rest;
    size_t begin;

    if (cli_state_read(path, FILE_MAX_BYTES, &text, &e) != MCP_OK) {
        buf_fini(&text); /* none yet */
        return;
    }
    begin = newest(buf_slice(&text));
    rest = slice_skip(buf_slice(&text), begin);
    while (rest.len > 0) {
        const char *end = memchr(rest.ptr, '\n', rest.len);
        size_t len = end == NULL ? rest.len : (size_t)(end - rest.ptr);

        add_entry(entries, slice_first(rest, len));
        rest = slice_skip(rest, end == NULL ? len : len + 1);
    }
    if (begin > buf_len(&text) / 2) { /* else it grows without end */
        (void)cli_state_write(path, slice_skip(buf_slice(&text), begin), &e); /* next time then */
    }
    buf_fini(&text);
}

void cli_history_open(struct cli_history *history, struct cli_words *entries)
{
    struct err e = {0};
    char *path = cli_state_path("chat_history", &e);

    history->fd = -1;
    if (path != NULL) {
        load(path, entries);
        history->fd = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NONBLOCK, 0600);
        if (history->fd < 0) {
            (void)err_set(&e, MCP_EARGUMENT, "%s: %s", path, strerror(errno));
        } else {
            (void)fchmod(history->fd, 0600); /* where it was made with other rights */
        }
    }
    if (history->fd < 0) {
        cli_error("no history: %s", e.text);
    }
    free(path);
}

void cli_history_add(struct cli_history *history, struct slice text)
{
    yyjson_mut_doc *doc;
    char *line;
    size_t len;

    if (history->fd < 0 || text.len > ENTRY_MAX_BYTES) {
        return;
    }
    doc = yyjson_mut_doc_new(NULL);
    yyjson_mut_doc_set_root(doc, yyjson_mut_strn(doc, text.ptr, text.len));
    line = yyjson_mut_write(doc, YYJSON_WRITE_NEWLINE_AT_END, &len);
    if (line != NULL && write(history->fd, line, len) < 0) { /* in one piece, or it is nothing */
        cli_error("history: %s", strerror(errno));
        cli_history_close(history);
    }
    free(line);
    yyjson_mut_doc_free(doc);
}

void cli_history_close(struct cli_history *history)
{
    if (history->fd >= 0) {
        (void)close(history->fd); /* each line was written through */
        history->fd = -1;
    }
}
