/* SPDX-License-Identifier: Apache-2.0 */
/* mcpgate decode: MCP frames in a file or a capture, one line each. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/cli.h"
#include "cli/decode_capture.h"
#include "cli/decode_stream.h"
#include "cli/decode_text.h"
#include "cli/input.h"
#include "cli/text.h"

enum { PAYLOAD_CHARS = 160, PAYLOAD_CHARS_MOST = 1 << 30, HEX_BYTES = 64 };

struct decode {
    const char *path; /* NULL: standard input */
    unsigned long max_chars;
    unsigned long port;
    bool has_errors;
    size_t connections;
};

static const struct argp_option options[] = {
    {"length", 'l', "N", 0, "Characters of a payload that are shown (160); 0: all", 0},
    {"port", 'p', "PORT", 0, "Of a capture: the connections to this port, whatever they carry", 0},
    {0},
};

static error_t parse_decode(int key, char *arg, struct argp_state *state)
{
    struct decode *d = state->input;

    switch (key) {
    case 'l':
        d->max_chars = cli_parse_number(state, "length", arg, PAYLOAD_CHARS_MOST);
        return 0;
    case 'p':
        d->port = cli_parse_number(state, "port", arg, UINT16_MAX);
        return 0;
    case ARGP_KEY_ARG:
        if (state->arg_num > 0) {
            cli_usage(state, "expected one file, not also '%s'", arg);
        }
        d->path = strcmp(arg, "-") == 0 ? NULL : arg;
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

/* --- one line --------------------------------------------------------------------------------- */

static void append_hex(struct buf *out, struct slice bytes)
{
    struct slice shown = slice_first(bytes, HEX_BYTES);

    for (size_t i = 0; i < shown.len; i++) {
        buf_printf(out, "%02x", (unsigned)(uint8_t)shown.ptr[i]);
    }
    buf_append_str(out, shown.len < bytes.len ? "..." : "");
}

/* False: it should have been JSON. */
static bool append_payload(const struct decode *d, const struct decode_item *item, struct buf *out)
{
    if (item->is_piece && item->payload.len == 0) {
        buf_append_str(out, "the pieces before it are dropped");
    } else if (item->is_piece) {
        buf_printf(out, "piece, %zu bytes so far", item->gathered_bytes);
    } else if (item->is_json) {
        if (item->payload.len > item->header.length) {
            buf_printf(out, "%zu bytes with the pieces before it ", item->payload.len);
        }
        return decode_json_line(item->payload, d->max_chars, out);
    } else if (item->header.opcode == WIRE_OP_CREDIT && item->payload.len == 4) {
        buf_printf(out, "%" PRIu32 " more bytes", wire_get_u32((const uint8_t *)item->payload.ptr));
    } else if (item->header.opcode == WIRE_OP_HEARTBEAT) {
        append_hex(out, item->payload);
    }
    return true;
}

static void append_frame(const struct decode_item *item, struct buf *out)
{
    if (item->opcode != NULL) {
        buf_printf(out, "%-9s", item->opcode->name);
    } else {
        buf_printf(out, "0x%02x     ", (unsigned)item->header.opcode);
    }
    buf_printf(out, " session=%" PRIu32 " length=%" PRIu32 " ", item->header.session_id,
               item->header.length);
}

static void append_error(struct buf *out, const char *error)
{
    buf_printf(out, "%s! %s%s", cli_style(stdout, CLI_RED), error, cli_style(stdout, CLI_PLAIN));
}

static void show(struct decode *d, const char *before, const struct decode_item *item)
{
    struct buf line = {0};
    bool is_readable = true;

    if (item->is_frame) {
        append_frame(item, &line);
        is_readable = append_payload(d, item, &line);
        if (item->error[0] != '\0' && line.data[line.tail - 1] != ' ') {
            buf_append_byte(&line, ' ');
        }
    }
    if (item->error[0] != '\0') {
        append_error(&line, item->error);
    } else if (!is_readable) {
        append_error(&line, "the payload is not JSON");
    }
    while (buf_len(&line) > 0 && line.data[line.tail - 1] == ' ') {
        line.tail--;
    }
    if (buf_failed(&line)) {
        cli_no_memory();
    }
    d->has_errors = d->has_errors || item->error[0] != '\0' || !is_readable;
    (void)printf("%s%8" PRIu64 " %c ", before, item->offset, "><?"[item->way]);
    cli_put(stdout, buf_slice(&line));
    (void)putchar('\n');
    buf_fini(&line);
}

/* --- the kinds of input ----------------------------------------------------------------------- */

static void on_item(void *owner, const struct decode_item *item)
{
    show(owner, "", item);
}

static void on_connection(void *owner, const struct decode_connection *c)
{
    struct decode *d = owner;

    d->connections++;
    (void)printf("# connection %zu: %s > %s\n", c->number, c->client, c->server);
}

static void on_captured(void *owner, const struct decode_connection *c, uint64_t us,
                        const struct decode_item *item)
{
    char before[64];

    (void)snprintf(before, sizeof(before), "%3zu %6" PRIu64 ".%06" PRIu64 " ", c->number,
                   us / 1000000U, us % 1000000U);
    show(owner, before, item);
}

static int read_capture(struct decode *d, struct slice input, struct err *e)
{
    static const struct decode_capture_ops ops = {.began = on_connection, .item = on_captured};
    size_t others = 0;
    int rv = decode_capture(input, (uint16_t)d->port, &ops, d, &others, e);

    if (others > 0) {
        (void)printf("# %zu other TCP connection%s\n", others, others == 1 ? "" : "s");
    }
    if (rv == MCP_OK && d->connections == 0) {
        return err_set(e, MCP_EARGUMENT, "no MCP connection in this capture%s",
                       d->port == 0 ? "; --port shows those to a port" : "");
    }
    return rv;
}

static void feed(void *owner, enum decode_way way, struct slice bytes)
{
    decode_stream_feed(owner, way, bytes);
}

static int read_frames(struct decode *d, struct slice input, struct err *e)
{
    struct decode_stream stream;
    int rv = MCP_OK;

    decode_stream_init(&stream, on_item, d);
    if (decode_is_text(input)) {
        rv = decode_hex(input, feed, &stream, e);
    } else {
        decode_stream_feed(&stream, DECODE_ANY, input);
    }
    decode_stream_end(&stream);
    decode_stream_fini(&stream);
    return rv;
}

static int read_input(const struct decode *d, struct buf *input)
{
    int error;

    if (d->path == NULL && isatty(STDIN_FILENO)) {
        (void)fputs("digits of frames, such as 01 01 00 00...; Ctrl-D ends them\n", stderr);
    }
    error = cli_input_file(d->path, SIZE_MAX, input);
    if (error != 0) {
        cli_error("%s: %s", d->path == NULL ? "standard input" : d->path, strerror(error));
    }
    return error == 0 ? CLI_EXIT_OK : CLI_EXIT_FAILED;
}

static int run(struct decode *d, struct slice input)
{
    struct err e = {0};
    int rv = decode_is_capture(input) ? read_capture(d, input, &e) : read_frames(d, input, &e);

    if (rv != MCP_OK) {
        cli_error("%s: %s", d->path == NULL ? "standard input" : d->path, e.text);
    }
    return rv == MCP_OK && !d->has_errors ? CLI_EXIT_OK : CLI_EXIT_FAILED;
}

const struct argp cli_decode_argp = {
    .options = options,
    .parser = parse_decode,
    .args_doc = "[FILE]",
    .doc = "Shows the MCP frames in FILE or standard input, one on a line: offset, direction, "
           "opcode, session, length, payload. FILE holds hexadecimal digits, the bytes themselves, "
           "or a capture (pcap, pcapng). Keys are hidden. The exit status is 1 where something is "
           "wrong; what that is stands behind a '!'.",
    .children = cli_help_children,
};

int cli_decode(int argc, char **argv)
{
    struct decode d = {.max_chars = PAYLOAD_CHARS};
    struct buf input = {0};
    int rc;

    cli_parse(&cli_decode_argp, argc, argv, &d);
    rc = read_input(&d, &input);
    if (rc == CLI_EXIT_OK) {
        rc = run(&d, buf_slice(&input));
    }
    buf_fini(&input);
    return rc;
}
