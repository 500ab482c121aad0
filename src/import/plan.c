/* SPDX-License-Identifier: Apache-2.0 */
#include "import/plan.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/json_scan.h"
#include "base/utf8.h"

enum { SHOWN_MAX = 60 };

void plan_fini(struct plan *p)
{
    buf_fini(&p->nodes);
    buf_fini(&p->keys);
    for (size_t i = 0; i < p->lost_count; i++) {
        free(p->lost[i].text);
    }
    free(p->lost);
    buf_fini(&p->seen);
}

/* --- what is lost ----------------------------------------------------------------------------- */

/* Keys may stand there, and before the @ of a URL. */
static bool is_secret(const char *path, const char *text)
{
    static const char *const words[] = {"key", "secret", "password", "token", "auth"};

    for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
        if (strcasestr(path, words[i]) != NULL) {
            return true;
        }
    }
    return strchr(text, '@') != NULL;
}

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

/* Within one line of YAML; what cannot stand there is a question mark. */
static void append_plain(struct buf *out, const char *text, size_t len)
{
    for (size_t i = 0; i < len;) {
        size_t n = yaml_character(text + i, len - i);

        buf_append(out, n == 0 ? SLICE("?") : slice_of(text + i, n));
        i += n == 0 ? 1 : n;
    }
}

static void append_value(struct buf *out, const char *text)
{
    size_t len = strcspn(text, "\r\n");

    buf_append_str(out, ": ");
    append_plain(out, text, utf8_first(slice_of(text, len), SHOWN_MAX).len);
    buf_append_str(out, len > SHOWN_MAX || text[len] != '\0' ? "..." : "");
}

static void push_loss(struct plan *p, unsigned line, struct buf *text)
{
    struct plan_loss *lost = realloc(p->lost, (p->lost_count + 1) * sizeof(*lost));
    char *copy = NULL;

    if (lost != NULL) {
        p->lost = lost;
        buf_append_byte(text, '\0');
        copy = buf_failed(text) ? NULL : strdup(buf_slice(text).ptr);
    }
    if (copy == NULL) {
        p->failed = true;
        return;
    }
    p->lost[p->lost_count++] = (struct plan_loss){line, copy};
}

void plan_lose(struct plan *p, const char *path, const struct tree *t, const char *why)
{
    struct buf text = {0};

    append_plain(&text, path, strlen(path));
    if (t->text != NULL && t->text[0] != '\0' && t->kind == TREE_TEXT &&
        !is_secret(path, t->text)) {
        append_value(&text, t->text);
    }
    if (why != NULL) {
        buf_append_str(&text, " - ");
        append_plain(&text, why, strlen(why));
    }
    push_loss(p, t->line, &text);
    buf_fini(&text);
}

static const char *name_of(const struct tree *t)
{
    return t->key == NULL ? "" : t->key;
}

/* --- nodes and keys --------------------------------------------------------------------------- */

static void append_pair(struct buf *out, const char *before, const char *key, const char *value)
{
    struct buf plain = {0};

    append_plain(&plain, value, strlen(value));
    buf_printf(out, "%s%s: ", before, key);
    json_append_string(out, buf_failed(&plain) ? slice_str(value) : buf_slice(&plain));
    buf_append_byte(out, '\n');
    buf_fini(&plain);
}

static bool is_variable(const char *text)
{
    return strchr(text, '$') != NULL || strncmp(text, "os.environ/", 11) == 0;
}

/* NULL, or why it cannot be a node's. */
static const char *refusal(const char *url)
{
    if (is_variable(url)) {
        return "the address is a variable; write it here";
    }
    if (strncasecmp(url, "https:", 6) == 0) {
        return "nodes are spoken to without TLS; put a TLS client such as stunnel before it";
    }
    return strncasecmp(url, "http://", 7) == 0 || strncmp(url, "unix:", 5) == 0
               ? NULL
               : "expected http://host:port";
}

/* Ours have no /v1 at their end: it is part of every path. */
static void copy_url(const char *url, char *out, size_t cap)
{
    size_t len;

    (void)snprintf(out, cap, "%s", url);
    len = strlen(out);
    while (len > 0 && out[len - 1] == '/') {
        out[--len] = '\0';
    }
    if (len > 3 && strcmp(out + len - 3, "/v1") == 0) {
        out[len - 3] = '\0';
    }
}

/* True: it was there before. */
static bool note_seen(struct plan *p, const char *what, const char *a, const char *b)
{
    char entry[1024];
    struct slice all = buf_slice(&p->seen);

    (void)snprintf(entry, sizeof(entry), "\n%s\t%s\t%s\n", what, a, b == NULL ? "" : b);
    if (all.len > 0 && memmem(all.ptr, all.len, entry, strlen(entry)) != NULL) {
        return true;
    }
    buf_append_str(&p->seen, entry);
    return false;
}

/* Nodes have names of their own: that of a second one with the same gets a number. */
static void append_node_name(struct plan *p, const char *name, const char *url)
{
    char numbered[256];

    if (note_seen(p, "name", name == NULL ? url : name, NULL)) {
        (void)snprintf(numbered, sizeof(numbered), "%s-%zu", name == NULL ? "node" : name,
                       p->node_count + 1);
        name = numbered;
    }
    if (name != NULL) {
        append_pair(&p->nodes, "    ", "name", name);
    }
}

static void append_headers(struct plan *p, struct tree *headers)
{
    for (size_t i = 0; headers != NULL && i < headers->count; i++) {
        struct tree *h = headers->items[i];

        if (h->kind != TREE_TEXT || is_variable(h->text)) {
            continue; /* told as unused */
        }
        if (!headers->used) {
            buf_append_str(&p->nodes, "    headers:\n");
            headers->used = true;
        }
        h->used = true;
        append_pair(&p->nodes, "      - ", "name", h->key);
        append_pair(&p->nodes, "        ", "value", h->text);
    }
}

bool plan_add_node(struct plan *p, const struct tree *t, const struct plan_node *n)
{
    const char *why = refusal(n->url);
    char url[512];

    if (why != NULL) {
        char text[512];

        (void)snprintf(text, sizeof(text), "%.200s: %s", n->url, why);
        plan_lose(p, t->key == NULL ? "node" : t->key, &(struct tree){.line = t->line}, text);
        return false;
    }
    copy_url(n->url, url, sizeof(url));
    if (note_seen(p, "url", url, n->api_key)) {
        return true;
    }
    append_pair(&p->nodes, "  - ", "url", url);
    if (n->kind != NULL) {
        append_pair(&p->nodes, "    ", "kind", n->kind);
    }
    append_node_name(p, n->name, url);
    if (n->api_key != NULL) {
        append_pair(&p->nodes, "    ", "api_key", n->api_key);
    }
    append_headers(p, n->headers);
    p->node_count++;
    return true;
}

bool plan_add_key(struct plan *p, const struct tree *t, const char *name, const char *key)
{
    char numbered[64];

    if (is_variable(key)) {
        plan_lose(p, name_of(t), t, "taken from a variable; put the key into a file: key_file");
        return false;
    }
    p->key_count++;
    (void)snprintf(numbered, sizeof(numbered), p->key_count == 1 ? "%s" : "%s-%zu", name,
                   p->key_count);
    append_pair(&p->keys, "  - ", "name", numbered);
    append_pair(&p->keys, "    ", "key", key);
    return true;
}

/* --- single values ---------------------------------------------------------------------------- */

void plan_set(struct plan *p, const struct tree *t, const char *key, const char *value)
{
    struct plan_setting *s = p->settings;

    if (value == NULL) {
        return;
    }
    while (s < p->settings + p->setting_count && strcmp(s->key, key) != 0) {
        s++;
    }
    if (s < p->settings + p->setting_count) {
        if (strcmp(s->value, value) != 0) {
            plan_lose(p, name_of(t), t, "another value was there before; there is one for all");
        }
        return;
    }
    if (p->setting_count < PLAN_SETTINGS_MAX) {
        s->key = key;
        (void)snprintf(s->value, sizeof(s->value), "%s", value);
        p->setting_count++;
    }
}

void plan_set_listen(struct plan *p, const struct tree *t, const char *host, const char *port)
{
    char at[128];
    bool v6 = host != NULL && strchr(host, ':') != NULL && host[0] != '[';

    if (port == NULL && host == NULL) {
        return;
    }
    if (host == NULL || host[0] == '\0' || strcmp(host, "*") == 0) {
        host = "0.0.0.0";
    } else if (strcmp(host, "localhost") == 0) {
        host = "127.0.0.1";
    }
    (void)snprintf(at, sizeof(at), v6 ? "[%s]:%s" : "%s:%s", host, port == NULL ? "11434" : port);
    plan_set(p, t, "http.listen", at);
}

/* A number with its unit; false: it is none. `*in` is moved behind it. */
static bool read_unit(const char **in, double *number, char unit[8])
{
    char *end;
    size_t len;

    if (!isdigit((unsigned char)**in) && **in != '.') {
        return false;
    }
    *number = strtod(*in, &end);
    if (end == *in) { /* a point alone */
        return false;
    }
    while (*end == ' ') {
        end++;
    }
    len = strspn(end, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ");
    if (len > 7) {
        return false;
    }
    slice_copy(slice_of(end, len), unit, 8);
    *in = end + len;
    return true;
}

static bool time_unit(const char *unit, uint64_t plain_ms, double *ms)
{
    static const struct {
        const char *name;
        double ms;
    } units[] = {{"ms", 1}, {"s", 1000}, {"m", 60000}, {"h", 3600000}, {"d", 86400000}};

    if (unit[0] == '\0') {
        *ms = (double)plain_ms;
        return true;
    }
    for (size_t i = 0; i < sizeof(units) / sizeof(units[0]); i++) {
        if (strcmp(units[i].name, unit) == 0) {
            *ms = units[i].ms;
            return true;
        }
    }
    return false;
}

static const char *skip_spaces(const char *text)
{
    return text + strspn(text, " ");
}

void plan_set_time(struct plan *p, struct tree *t, const char *key, uint64_t unit_ms)
{
    const char *in = tree_take(t);
    double sum = 0;
    double number;
    double ms;
    char unit[8];
    char value[32];

    if (in == NULL) {
        return;
    }
    for (in = skip_spaces(in); *in != '\0'; in = skip_spaces(in)) {
        if (!read_unit(&in, &number, unit) || !time_unit(unit, unit_ms, &ms)) {
            plan_lose(p, name_of(t), t, "expected a time");
            return;
        }
        sum += number * ms;
    }
    if (sum < 1 || sum > 86400000) {
        plan_lose(p, name_of(t), t, sum < 1 ? "here every time has a limit" : "longer than a day");
        return;
    }
    (void)snprintf(value, sizeof(value),
                   sum - (double)((uint64_t)sum / 1000 * 1000) < 1 ? "%.0fs" : "%.0fms",
                   sum - (double)((uint64_t)sum / 1000 * 1000) < 1 ? sum / 1000 : sum);
    plan_set(p, t, key, value);
}

static bool size_unit(const char *unit, bool binary, double *bytes)
{
    static const char letters[] = "kmgt";
    const char *found = unit[0] == '\0' ? NULL : strchr(letters, tolower((unsigned char)unit[0]));
    double base = binary || strcasecmp(unit + (unit[0] != '\0'), "ib") == 0 ? 1024 : 1000;

    *bytes = 1;
    if (unit[0] == '\0' || strcasecmp(unit, "b") == 0) {
        return true;
    }
    if (found == NULL ||
        (unit[1] != '\0' && strcasecmp(unit + 1, "b") != 0 && strcasecmp(unit + 1, "ib") != 0)) {
        return false;
    }
    for (const char *c = letters; c <= found; c++) {
        *bytes *= base;
    }
    return true;
}

void plan_set_size(struct plan *p, struct tree *t, const char *key, bool binary)
{
    const char *in = tree_take(t);
    double number;
    double bytes;
    char unit[8];
    char value[32];

    if (in == NULL) {
        return;
    }
    in = skip_spaces(in);
    if (!read_unit(&in, &number, unit) || *skip_spaces(in) != '\0' ||
        !size_unit(unit, binary, &bytes)) {
        plan_lose(p, name_of(t), t, "expected a size");
        return;
    }
    bytes *= number;
    if (bytes < 1024 || bytes > 16.0 * 1024 * 1024 * 1024) {
        plan_lose(p, name_of(t), t, "expected 1KiB to 16GiB; 0 for none is not possible here");
        return;
    }
    (void)snprintf(value, sizeof(value), "%.0fB", bytes);
    plan_set(p, t, key, value);
}

void plan_set_level(struct plan *p, struct tree *t)
{
    static const char *const levels[] = {"debug", "info", "warn", "error"};
    const char *text = tree_take(t);

    for (size_t i = 0; text != NULL && i < sizeof(levels) / sizeof(levels[0]); i++) {
        if (strncasecmp(text, levels[i], strlen(levels[i])) == 0) {
            plan_set(p, t, "log.level", levels[i]);
            return;
        }
    }
    if (text != NULL) {
        plan_lose(p, name_of(t), t, "expected debug, info, warn or error");
    }
}

/* --- all of it -------------------------------------------------------------------------------- */

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
                append_pair(out, "  ", key + section + 1, p->settings[k].value);
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
    append_plain(out, from, strlen(from));
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
