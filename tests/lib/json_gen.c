/* SPDX-License-Identifier: Apache-2.0 */
#include "json_gen.h"

#include "base/check.h"

#define PICK(g, texts) texts[json_gen_pick(g, sizeof(texts) / sizeof(texts[0]))]

size_t json_gen_pick(struct json_gen *g, size_t below)
{
    /* xorshift64* */
    g->state ^= g->state >> 12;
    g->state ^= g->state << 25;
    g->state ^= g->state >> 27;
    return (size_t)((g->state * 0x2545F4914F6CDD1DULL >> 33) % below);
}

static void put(struct buf *out, const char *text)
{
    ASSERT(buf_append_str(out, text));
}

void json_gen_blanks(struct json_gen *g, struct buf *out)
{
    static const char *const blanks[] = {" ", "\t", "\n", "\r", "  ", " \r\n"};

    if (json_gen_pick(g, 4) == 0) {
        put(out, PICK(g, blanks));
    }
}

void json_gen_string(struct json_gen *g, struct buf *out)
{
    static const char *const pieces[] = {
        "a",
        "b",
        "model",
        "done",
        "\\\"",
        "\\\\",
        "\\/",
        "\\b",
        "\\f",
        "\\n",
        "\\r",
        "\\t",
        "\\u0000",
        "\\u006d",
        "\\u00E9",
        "\\u4f60",
        "\\ud83d\\ude00",
        "\x7F",
        "\xC3\xA9",
        "\xE4\xBD\xA0",
        "\xEF\xBF\xBF",
        "\xF0\x9F\x98\x80",
        "{\\\"done\\\":true}",
        "plain text that is longer than a word of the machine",
        "\\uD83D",
        "\\udE00",
    };
    size_t count = sizeof(pieces) / sizeof(pieces[0]) - (g->paired ? 2 : 0);

    put(out, "\"");
    for (size_t n = json_gen_pick(g, 6); n > 0; n--) {
        put(out, pieces[json_gen_pick(g, count)]);
    }
    put(out, "\"");
}

static void put_scalar(struct json_gen *g, struct buf *out)
{
    static const char *const scalars[] = {
        "null", "true",  "false",   "0",     "-0",  "1",      "42",
        "-7",   "3.250", "1e5",     "-2E-3", "0.0", "1e+999", "12345678901234567890123",
        "100",  "0.1",   "1234e-2", "9",     "10",  "-1.5e1",
    };

    if (json_gen_pick(g, 2) == 0) {
        json_gen_string(g, out);
    } else {
        put(out, PICK(g, scalars));
    }
}

void json_gen_value(struct json_gen *g, struct buf *out, int depth)
{
    size_t form = json_gen_pick(g, 4);
    bool is_object = form == 0;

    if (depth == 0 || form > 1) {
        put_scalar(g, out);
        return;
    }
    put(out, is_object ? "{" : "[");
    json_gen_blanks(g, out);
    for (size_t n = json_gen_pick(g, 5); n > 0; n--) {
        if (is_object) {
            json_gen_string(g, out);
            json_gen_blanks(g, out);
            put(out, ":");
            json_gen_blanks(g, out);
        }
        json_gen_value(g, out, depth - 1);
        json_gen_blanks(g, out);
        if (n > 1) {
            put(out, ",");
            json_gen_blanks(g, out);
        }
    }
    put(out, is_object ? "}" : "]");
}
