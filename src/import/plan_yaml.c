/* SPDX-License-Identifier: Apache-2.0 */
/* A plan as a file in YAML. */
#include <stdlib.h>
#include <string.h>

#include "base/json_scan.h"
#include "base/utf8.h"
#include "import/plan_internal.h"

/* How many bytes at `p` are one character that YAML takes within a line; 0: it takes none there
 * (controls, line ends beyond ASCII, the byte order mark, what is not UTF-8). */
static size_t yaml_character(const char *p, size_t avail)
{
    static const struct slice refused[] = {SLICE("\xe2\x80\xa8"), SLICE("\xe2\x80\xa9"),
                                           SLICE("\xef\xbb\xbf"), SLICE("\xef\xbf\xbe"),
                                           SLICE("\xef\xbf\xbf")};
    unsigned char first = (unsigned char)p[0];
    size_t len = first < 0x80 ? first >= ' ' && first != 0x7f : utf8_sequence(p, avail);

    if (first == 0xc2 && len == 2 && (unsigned char)p[1] < 0xa0) {
        return 0;
    }
    for (size_t i = 0; len == 3 && i < sizeof(refused) / sizeof(refused[0]); i++) {
        if (slice_eq(slice_of(p, len), refused[i])) {
            return 0;
        }
    }
    return len;
}

void plan_yaml_plain(struct buf *out, const char *text, size_t len)
{
    for (size_t i = 0; i < len;) {
        size_t n = yaml_character(text + i, len - i);

        buf_append(out, n == 0 ? SLICE("?") : slice_of(text + i, n));
        i += n == 0 ? 1 : n;
    }
}

void plan_yaml_pair(struct buf *out, const char *before, const char *key, const char *value)
{
    struct buf plain = {0};

    plan_yaml_plain(&plain, value, strlen(value));
    buf_printf(out, "%s%s: ", before, key);
    json_append_string(out, buf_failed(&plain) ? slice_str(value) : buf_slice(&plain));
    buf_append_byte(out, '\n');
    buf_fini(&plain);
}

/* --- the file --------------------------------------------------------------------------------- */

/* Keys of one section stand together: they are set in any order. */
static void write_settings(const struct plan *p, struct buf *out)
{
    bool written[PLAN_SETTINGS_MAX] = {false};

    for (size_t i = 0; i < p->setting_count; i++) {
        size_t section = strcspn(p->settings[i].key, ".");

        if (written[i]) {
            continue;
        }
        buf_printf(out, "%.*s:\n", (int)section, p->settings[i].key);
        for (size_t k = i; k < p->setting_count; k++) {
            const char *key = p->settings[k].key;

            if (strncmp(key, p->settings[i].key, section + 1) == 0) {
                plan_yaml_pair(out, "  ", key + section + 1, p->settings[k].value);
                written[k] = true;
            }
        }
    }
}

static const char *setting(const struct plan *p, const char *key)
{
    for (size_t i = 0; i < p->setting_count; i++) {
        if (strcmp(p->settings[i].key, key) == 0) {
            return p->settings[i].value;
        }
    }
    return NULL;
}

static bool is_open_to_all(const struct plan *p)
{
    const char *at = setting(p, "http.listen");

    return at != NULL && p->key_count == 0 && strncmp(at, "127.", 4) != 0 &&
           strncmp(at, "[::1]", 5) != 0 && strncmp(at, "unix:", 5) != 0;
}

static int by_line(const void *a, const void *b)
{
    const struct plan_loss *x = a;
    const struct plan_loss *y = b;

    return x->line != y->line ? (x->line > y->line) - (x->line < y->line)
                              : strcmp(x->text, y->text);
}

static void write_lost(struct plan *p, struct buf *out)
{
    if (p->lost_count > 0) {
        qsort(p->lost, p->lost_count, sizeof(*p->lost), by_line);
        buf_printf(out, "\n# Not carried over (%zu):\n", p->lost_count);
    }
    for (size_t i = 0; i < p->lost_count; i++) {
        buf_printf(out, "# line %u: ", p->lost[i].line);
        buf_append_str(out, p->lost[i].text);
        buf_append_byte(out, '\n');
    }
}

static void write_list(struct buf *out, const char *key, const struct buf *items)
{
    if (buf_len(items) > 0) {
        buf_printf(out, "%s:\n", key);
        buf_append(out, buf_slice(items));
    }
}

int plan_write(struct plan *p, const char *from, const char *kind, struct buf *out, struct err *e)
{
    buf_append_str(out, "# Made by mcpgate import from ");
    plan_yaml_plain(out, from, strlen(from));
    buf_printf(out, " (%s).\n", kind);
    if (is_open_to_all(p)) {
        buf_append_str(out,
                       "# It listens beyond this machine without keys: add `keys`, or start it "
                       "with --insecure.\n");
    }
    write_list(out, "nodes", &p->nodes);
    write_list(out, "keys", &p->keys);
    write_settings(p, out);
    write_lost(p, out);
    return p->failed || buf_failed(out) || buf_failed(&p->nodes) || buf_failed(&p->keys)
               ? err_set(e, MCP_ENOMEM, "out of memory")
               : MCP_OK;
}
