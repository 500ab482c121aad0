/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/input.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "cli/cli.h"
#include "cli/conn.h"
#include "cli/text.h"

enum { READ_BYTES = 1 << 16 };

int cli_input_read(struct buf *text)
{
    ssize_t n;

    if (isatty(STDIN_FILENO)) {
        cli_error("no text; give it as an argument or on standard input");
        return CLI_EXIT_USAGE;
    }
    do {
        char *at = buf_reserve(text, READ_BYTES);

        if (at == NULL) {
            cli_no_memory();
        }
        n = read(STDIN_FILENO, at, READ_BYTES);
        if (n > 0) {
            buf_commit(text, (size_t)n);
        }
    } while (n > 0 || (n < 0 && errno == EINTR && !cli_interrupted()));
    if (n < 0) {
        if (cli_interrupted()) {
            return CLI_EXIT_INTERRUPTED;
        }
        cli_error("standard input: %s", strerror(errno));
        return CLI_EXIT_FAILED;
    }
    if (buf_len(text) > 0 && text->data[text->tail - 1] == '\n') {
        text->tail--;
    }
    return CLI_EXIT_OK;
}

/* 0 or errno. */
static int read_all(FILE *f, size_t max_bytes, struct buf *out)
{
    size_t n;

    do {
        char *at = buf_reserve(out, READ_BYTES);

        if (at == NULL) {
            cli_no_memory();
        }
        errno = 0;
        n = fread(at, 1, READ_BYTES, f);
        buf_commit(out, n);
        /* Fewer are the end; behind it a terminal would be read again. */
    } while (n == READ_BYTES && buf_len(out) <= max_bytes);
    if (buf_len(out) > max_bytes) {
        return EFBIG;
    }
    return ferror(f) ? errno : 0;
}

int cli_input_file(const char *path, size_t max_bytes, struct buf *bytes)
{
    FILE *f = path == NULL ? stdin : fopen(path, "rbe");
    int error = f == NULL ? errno : read_all(f, max_bytes, bytes);

    if (f != NULL && f != stdin) {
        (void)fclose(f); /* it was only read */
    }
    return error;
}

/* Reads on; false when Ctrl-C came. */
static bool read_more(struct cli_lines *lines)
{
    char *at = buf_reserve(&lines->rest, READ_BYTES);
    ssize_t n;

    if (at == NULL) {
        cli_no_memory();
    }
    if (!cli_wait(STDIN_FILENO, -1)) {
        return false;
    }
    n = read(STDIN_FILENO, at, READ_BYTES);
    if (n > 0) {
        buf_commit(&lines->rest, (size_t)n);
    } else if (n == 0 || (errno != EINTR && errno != EAGAIN)) {
        lines->end = true;
    }
    return true;
}

bool cli_input_line(struct cli_lines *lines, struct slice *line)
{
    size_t searched = 0;

    buf_consume(&lines->rest, lines->taken);
    lines->taken = 0;
    for (;;) {
        struct slice rest = buf_slice(&lines->rest);
        const char *end = memchr(rest.ptr + searched, '\n', rest.len - searched);

        if (end != NULL) {
            *line = slice_first(rest, (size_t)(end - rest.ptr));
            lines->taken = line->len + 1;
            return true;
        }
        if (lines->end) { /* the last line may lack its end */
            *line = rest;
            lines->taken = rest.len;
            return rest.len > 0;
        }
        searched = rest.len;
        if (!read_more(lines)) {
            return false;
        }
    }
}
