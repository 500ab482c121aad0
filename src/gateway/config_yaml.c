/* SPDX-License-Identifier: Apache-2.0 */
/* libcyaml checks structure and keys, by a schema made from the table of keys. All values are
 * loaded as text, because its own numbers take "-1" for 2^64-1 and its booleans take any word for
 * true. It does not say where a value stood, and names the wrong line for an unknown key; so the
 * events of libyaml are walked once before, giving path and line of each, and the events libcyaml
 * has read (one debug line each) are counted: the last one read is the one it stumbled over. */
#include "gateway/config_yaml.h"

#include <cyaml/cyaml.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/check.h"
#include "gateway/config_marks.h"

enum {
    FILE_MAX_BYTES = 1 << 20,
    DEPTH_MAX = 8,
    SECTIONS = 14,
    SECTION_KEYS_MAX = 12,
    PATH_MAX_BYTES = 160,
    FILE_SHOWN = 80
};

/* Mappings whose keys are names: their fields are made for the names that the file has. */
enum named { NAMED_ROUTES, NAMED_MODELS, NAMED_COUNT };
static const char *const named_keys[NAMED_COUNT] = {"routes", "models"};

/* The schema: fields of each mapping, ended by a NULL key. */
struct schema {
    cyaml_schema_field_t sections[SECTIONS][SECTION_KEYS_MAX + 1];
    cyaml_schema_field_t header[SECTION_KEYS_MAX + 1];
    cyaml_schema_field_t node[SECTION_KEYS_MAX + 1];
    cyaml_schema_field_t key[SECTION_KEYS_MAX + 1];
    cyaml_schema_field_t arm[SECTION_KEYS_MAX + 1];
    cyaml_schema_field_t route[SECTION_KEYS_MAX + 1];
    cyaml_schema_field_t pin[SECTION_KEYS_MAX + 1];
    cyaml_schema_field_t model[2];
    cyaml_schema_field_t *named[NAMED_COUNT];
    cyaml_schema_field_t top[SECTIONS + 4 + NAMED_COUNT + 1];
    cyaml_schema_value_t header_entry;
    cyaml_schema_value_t node_entry;
    cyaml_schema_value_t key_entry;
    cyaml_schema_value_t arm_entry;
    cyaml_schema_value_t text_entry;
    cyaml_schema_value_t root;
};

static const char *const sections[SECTIONS] = {
    "mcp",   "http",  "admin",    "reactor", "limits", "queue", "placement",
    "batch", "share", "timeouts", "log",     "trace",  "state", "discovery",
};

struct config_yaml {
    char *shown; /* the end of the path: in a long one it says more, and the error must fit */
    struct config_marks marks;
    const char **names[NAMED_COUNT]; /* in the marks' paths */
    size_t name_count[NAMED_COUNT];
    struct schema schema;
    struct config_yaml_values *values;
    struct config_yaml_values none; /* where the file gives nothing at all */
};

/* --- the schema ------------------------------------------------------------------------------- */

/* A list of texts. */
static cyaml_schema_field_t texts_field(const struct schema *s, size_t item)
{
    return (cyaml_schema_field_t){
        .key = config_items[item].key,
        .data_offset = (uint32_t)(item * sizeof(char *)),
        .count_offset =
            (uint32_t)(offsetof(struct config_yaml_entry, count) + item * sizeof(unsigned)),
        .count_size = sizeof(unsigned),
        .value = {.type = CYAML_SEQUENCE,
                  .flags = (enum cyaml_flag)(CYAML_FLAG_POINTER | CYAML_FLAG_OPTIONAL),
                  .data_size = sizeof(char *),
                  .sequence = {.entry = &s->text_entry, .min = 1, .max = CYAML_UNLIMITED}},
    };
}

/* The keys of `section` as fields of a structure that has its values at its
 * beginning. */
static size_t add_items(const struct schema *s, cyaml_schema_field_t *fields, const char *section)
{
    size_t count = 0;

    for (size_t i = 0; i < CONFIG_ITEM_COUNT; i++) {
        if (strcmp(config_items[i].section, section) == 0) {
            ASSERT(count < SECTION_KEYS_MAX);
            if (config_item_is_list(&config_items[i])) {
                fields[count++] = texts_field(s, i);
                continue;
            }
            fields[count++] = (cyaml_schema_field_t){
                .key = config_items[i].key,
                .data_offset = (uint32_t)(i * sizeof(char *)),
                .value = {CYAML_VALUE_STRING(CYAML_FLAG_POINTER | CYAML_FLAG_OPTIONAL, char, 0,
                                             CYAML_UNLIMITED)},
            };
        }
    }
    ASSERT(count > 0);
    return count;
}

static cyaml_schema_field_t list_field(const char *name, const cyaml_schema_value_t *entry,
                                       size_t offset, size_t count_offset)
{
    return (cyaml_schema_field_t){
        .key = name,
        .data_offset = (uint32_t)offset,
        .count_offset = (uint32_t)count_offset,
        .count_size = sizeof(unsigned),
        .value = {.type = CYAML_SEQUENCE,
                  .flags = (enum cyaml_flag)(CYAML_FLAG_POINTER | CYAML_FLAG_OPTIONAL),
                  .data_size = (entry->flags & CYAML_FLAG_POINTER) != 0 ? (uint32_t)sizeof(char *)
                                                                        : entry->data_size,
                  .sequence = {.entry = entry, .min = 1, .max = CYAML_UNLIMITED}},
    };
}

static cyaml_schema_value_t mapping(enum cyaml_flag flags, size_t size,
                                    const cyaml_schema_field_t *fields)
{
    return (cyaml_schema_value_t){.type = CYAML_MAPPING,
                                  .flags = flags,
                                  .data_size = (uint32_t)size,
                                  .mapping = {.fields = fields}};
}

static void make_route(struct schema *s)
{
    size_t count = add_items(s, s->route, "routes");

    ASSERT(count < SECTION_KEYS_MAX);
    (void)add_items(s, s->arm, "arms");
    s->arm_entry = mapping(CYAML_FLAG_DEFAULT, sizeof(struct config_yaml_entry), s->arm);
    s->route[count] = list_field("arms", &s->arm_entry, offsetof(struct config_yaml_entry, arms),
                                 offsetof(struct config_yaml_entry, arm_count));
}

static void make_model(struct schema *s)
{
    (void)add_items(s, s->pin, "pin");
    /* At the offset 0, as sections are below. */
    s->model[0] = (cyaml_schema_field_t){
        .key = "pin",
        .value = mapping(CYAML_FLAG_OPTIONAL, sizeof(struct config_yaml_entry), s->pin),
    };
}

/* A field for each name, whose entry is one of an array. */
static cyaml_schema_field_t named_field(struct config_yaml *y, enum named which,
                                        const cyaml_schema_field_t *entry, size_t offset)
{
    size_t size = sizeof(struct config_yaml_entry), count = y->name_count[which];
    cyaml_schema_field_t *fields = y->schema.named[which];

    for (size_t i = 0; i < count; i++) {
        fields[i] = (cyaml_schema_field_t){
            .key = y->names[which][i],
            .data_offset = (uint32_t)(i * size),
            .value = mapping(CYAML_FLAG_OPTIONAL, size, entry),
        };
    }
    return (cyaml_schema_field_t){
        .key = named_keys[which],
        .data_offset = (uint32_t)offset,
        .value = mapping((enum cyaml_flag)(CYAML_FLAG_POINTER | CYAML_FLAG_OPTIONAL),
                         (count + 1) * size, fields),
    };
}

static void make_schema(struct config_yaml *y)
{
    struct schema *s = &y->schema;
    size_t top = 0, count;

    s->text_entry =
        (cyaml_schema_value_t){CYAML_VALUE_STRING(CYAML_FLAG_POINTER, char, 0, CYAML_UNLIMITED)};
    make_route(s);
    make_model(s);
    (void)add_items(s, s->header, "headers");
    s->header_entry = mapping(CYAML_FLAG_DEFAULT, sizeof(struct config_yaml_entry), s->header);
    count = add_items(s, s->node, "nodes");
    s->node[count] =
        list_field("headers", &s->header_entry, offsetof(struct config_yaml_entry, headers),
                   offsetof(struct config_yaml_entry, header_count));
    s->node_entry = mapping(CYAML_FLAG_DEFAULT, sizeof(struct config_yaml_entry), s->node);
    (void)add_items(s, s->key, "keys");
    s->key_entry = mapping(CYAML_FLAG_DEFAULT, sizeof(struct config_yaml_entry), s->key);

    s->top[top++] = (cyaml_schema_field_t){
        .key = "node",
        .data_offset = offsetof(struct config_yaml_values, node),
        .value = mapping(CYAML_FLAG_OPTIONAL, sizeof(struct config_yaml_entry), s->node),
    };
    s->top[top++] = list_field("nodes", &s->node_entry, offsetof(struct config_yaml_values, nodes),
                               offsetof(struct config_yaml_values, node_count));
    for (size_t i = 0; i < sizeof(sections) / sizeof(sections[0]); i++) {
        (void)add_items(s, s->sections[i], sections[i]);
        /* At the offset 0: the fields of a section lie in the whole. */
        s->top[top++] = (cyaml_schema_field_t){
            .key = sections[i],
            .value =
                mapping(CYAML_FLAG_OPTIONAL, sizeof(struct config_yaml_values), s->sections[i]),
        };
    }
    s->top[top++] = list_field("keys", &s->key_entry, offsetof(struct config_yaml_values, keys),
                               offsetof(struct config_yaml_values, key_count));
    s->top[top] = texts_field(s, CONFIG_ITEM_TRUSTED_PROXIES);
    s->top[top++].key = config_items[CONFIG_ITEM_TRUSTED_PROXIES].section;
    s->top[top++] =
        named_field(y, NAMED_ROUTES, s->route, offsetof(struct config_yaml_values, routes));
    s->top[top++] =
        named_field(y, NAMED_MODELS, s->model, offsetof(struct config_yaml_values, models));
    s->root = mapping(CYAML_FLAG_POINTER, sizeof(struct config_yaml_values), s->top);
}

/* A line of the table: a text, or a list of texts. */
static bool is_value(const cyaml_schema_value_t *at)
{
    return at->type == CYAML_STRING ||
           (at->type == CYAML_SEQUENCE && at->sequence.entry->type == CYAML_STRING);
}

/* Which of the fields the path begins with; names may hold what separates the
 * parts of a path. */
static const cyaml_schema_field_t *find_field(const cyaml_schema_field_t *fields, const char *path)
{
    const cyaml_schema_field_t *found = NULL;
    size_t longest = 0;

    for (const cyaml_schema_field_t *f = fields; f->key != NULL; f++) {
        size_t len = strlen(f->key);

        if (len > longest && strncmp(path, f->key, len) == 0 && strchr(".[", path[len]) != NULL) {
            longest = len;
            found = f;
        }
    }
    return found;
}

/* What the schema says about `path`; NULL: nothing, it is unknown. For a single value, `*item` is
 * its line of the table. */
static const cyaml_schema_value_t *find_schema(const struct schema *s, const char *path,
                                               const struct config_item **item)
{
    const cyaml_schema_value_t *at = &s->root;

    *item = NULL;
    while (*path != '\0') {
        const cyaml_schema_field_t *f;

        if (*path == '[') {
            size_t len = strcspn(path, "]");

            if (at->type != CYAML_SEQUENCE || path[len] == '\0') { /* a key may hold a bracket */
                return NULL;
            }
            at = at->sequence.entry;
            *item = NULL;
            path += len + 1;
        } else {
            if (at->type != CYAML_MAPPING) {
                return NULL;
            }
            f = find_field(at->mapping.fields, path);
            if (f == NULL) {
                return NULL;
            }
            at = &f->value;
            *item = is_value(at) ? &config_items[f->data_offset / sizeof(char *)] : NULL;
            path += strlen(f->key);
        }
        path += *path == '.';
    }
    return at;
}

/* --- libcyaml --------------------------------------------------------------------------------- */

/* libcyaml writes one such line for each event that it has taken. */
static void count_event(cyaml_log_t level, void *ctx, const char *fmt, va_list args)
{
    size_t *count = ctx;

    (void)level;
    (void)args;
    *count += strncmp(fmt, "Load: Event:", 12) == 0;
}

static void append_keys(struct buf *text, const cyaml_schema_value_t *map)
{
    const char *comma = "";

    for (const cyaml_schema_field_t *f = map->mapping.fields; f->key != NULL; f++) {
        (void)buf_printf(text, "%s%s", comma, f->key);
        comma = ", ";
    }
}

static void append_expected(struct buf *text, const cyaml_schema_value_t *schema,
                            const struct config_item *item)
{
    char expected[CONFIG_EXPECTED_MAX];

    if (item != NULL) {
        config_item_expected(item, expected);
        (void)buf_printf(text, "expected %s", expected);
    } else if (schema->type == CYAML_MAPPING && schema->mapping.fields->key == NULL) {
        (void)buf_append_str(text, "expected names, and keys below each");
    } else if (schema->type == CYAML_MAPPING) {
        (void)buf_append_str(text, "expected keys below it: ");
        append_keys(text, schema);
    } else if (schema->type == CYAML_SEQUENCE) {
        (void)buf_append_str(text, "expected a list of entries with the keys ");
        append_keys(text, schema->sequence.entry);
    } else {
        (void)buf_append_str(text, "expected the name of a model");
    }
}

static const char *kind_of(yaml_event_type_t type)
{
    return type == YAML_SEQUENCE_START_EVENT  ? "a list"
           : type == YAML_MAPPING_START_EVENT ? "a mapping"
                                              : "a single value";
}

/* The error of libcyaml in words, at the event that it stumbled over. */
static int explain(const struct config_yaml *y, cyaml_err_t code, size_t events_read, struct err *e)
{
    const struct config_mark *at = &y->marks.marks[events_read - 1];
    const char *path = at->path;
    const struct config_item *item;
    const cyaml_schema_value_t *schema = find_schema(&y->schema, path, &item);
    char above[PATH_MAX_BYTES];
    struct buf text = {0};

    (void)buf_printf(&text, "%s:%zu: %s%s", y->shown, at->line, path, *path == '\0' ? "" : ": ");
    if (code == CYAML_ERR_INVALID_KEY) {
        (void)snprintf(above, sizeof(above), "%.*s", (int)at->parent_len, path);
        schema = find_schema(&y->schema, above, &item);
        (void)buf_append_str(&text, "unknown key; expected one of ");
        if (schema != NULL && schema->type == CYAML_MAPPING) {
            append_keys(&text, schema);
        }
    } else if (code == CYAML_ERR_UNEXPECTED_EVENT) {
        (void)buf_append_str(&text, "given twice");
    } else if (code == CYAML_ERR_SEQUENCE_ENTRIES_MIN) {
        (void)buf_append_str(&text, "an empty list; give an entry or leave it out");
    } else if (code == CYAML_ERR_INVALID_VALUE && schema != NULL) {
        append_expected(&text, schema, item);
        (void)buf_printf(&text, ", not %s", kind_of(at->type));
    } else {
        (void)buf_append_str(&text, cyaml_strerror(code));
    }
    (void)err_set(e, MCP_EARGUMENT, "%.*s", SLICE_ARG(buf_slice(&text)));
    buf_fini(&text);
    return MCP_EARGUMENT;
}

/* cyaml_mem, but by an allocator that tests can make fail. */
static void *config_mem(void *ctx, void *ptr, size_t size)
{
    (void)ctx;
    if (size == 0) {
        free(ptr);
        return NULL;
    }
    return realloc(ptr, size);
}

static cyaml_config_t cyaml_settings(size_t *events_read)
{
    return (cyaml_config_t){
        .log_fn = events_read == NULL ? NULL : count_event,
        .log_ctx = events_read,
        .log_level = CYAML_LOG_DEBUG,
        .mem_fn = config_mem,
        .flags = CYAML_CFG_NO_ALIAS,
    };
}

static bool has_name(const struct config_yaml *y, enum named which, const char *name)
{
    for (size_t i = 0; i < y->name_count[which]; i++) {
        if (strcmp(y->names[which][i], name) == 0) {
            return true;
        }
    }
    return false;
}

/* What lies in the mapping, each once; and fields for them. False: out of memory. */
static bool take_names(struct config_yaml *y, enum named which)
{
    const char *above = named_keys[which];
    size_t len = strlen(above);

    y->names[which] = calloc(y->marks.count + 1, sizeof(char *));
    if (y->names[which] == NULL) {
        return false;
    }
    for (size_t i = 0; i < y->marks.count; i++) {
        const struct config_mark *m = &y->marks.marks[i];

        if (m->parent_len == len && strncmp(m->path, above, len) == 0 && m->path[len] == '.' &&
            m->path[len + 1] != '\0' && !has_name(y, which, m->path + len + 1)) {
            y->names[which][y->name_count[which]++] = m->path + len + 1;
        }
    }
    y->schema.named[which] = calloc(y->name_count[which] + 1, sizeof(*y->schema.named[which]));
    return y->schema.named[which] != NULL;
}

static int load_values(struct config_yaml *y, struct slice text, struct err *e)
{
    size_t events_read = 0;
    cyaml_config_t config = cyaml_settings(&events_read);
    void *values = NULL;
    cyaml_err_t code;

    for (int i = 0; i < NAMED_COUNT; i++) {
        if (!take_names(y, (enum named)i)) {
            return err_set(e, MCP_ENOMEM, "%s: out of memory", y->shown);
        }
    }
    make_schema(y);
    code = cyaml_load_data((const uint8_t *)text.ptr, text.len, &config, &y->schema.root, &values,
                           NULL);
    if (code == CYAML_OK) {
        y->values = values;
        return MCP_OK;
    }
    if (code == CYAML_ERR_OOM || code == CYAML_ERR_LIBYAML_PARSER_INIT ||
        code == CYAML_ERR_LIBYAML_PARSER) { /* the text was parsed before */
        return err_set(e, MCP_ENOMEM, "%s: out of memory", y->shown);
    }
    if (events_read == 0 || events_read > y->marks.count) {
        return err_set(e, MCP_EARGUMENT, "%s: %s", y->shown, cyaml_strerror(code));
    }
    return explain(y, code, events_read, e);
}

/* --- the file --------------------------------------------------------------------------------- */

static int read_file(const char *path, struct buf *text, struct err *e)
{
    FILE *f = fopen(path, "re");
    size_t n = 0;
    char *at;
    int rc = MCP_OK;

    if (f == NULL) {
        return err_set(e, MCP_EARGUMENT, "%s: %s", path, strerror(errno));
    }
    do {
        at = buf_reserve(text, 4096);
        if (at == NULL) {
            rc = buf_len(text) + 4096 > FILE_MAX_BYTES
                     ? err_set(e, MCP_EARGUMENT, "%s: larger than 1 MiB", path)
                     : err_set(e, MCP_ENOMEM, "%s: out of memory", path);
            break;
        }
        n = fread(at, 1, 4096, f);
        buf_commit(text, n);
    } while (n > 0);
    if (rc == MCP_OK && ferror(f)) {
        rc = err_set(e, MCP_EARGUMENT, "%s: %s", path, strerror(errno));
    }
    (void)fclose(f);
    return rc;
}

struct config_yaml *config_yaml_load(const char *path, struct err *e)
{
    size_t skipped = strlen(path) > FILE_SHOWN ? strlen(path) - FILE_SHOWN : 0;
    struct config_yaml *y = calloc(1, sizeof(*y));
    struct buf text;
    int rc;

    if (y == NULL) {
        (void)err_set(e, MCP_ENOMEM, "out of memory");
        return NULL;
    }
    buf_init(&text, FILE_MAX_BYTES);
    y->shown = slice_dup(slice_str(path + skipped));
    rc = y->shown == NULL ? err_set(e, MCP_ENOMEM, "out of memory") : read_file(path, &text, e);
    if (rc == MCP_OK) {
        rc = config_marks_read(&y->marks, y->shown, buf_slice(&text), e);
    }
    if (rc == MCP_OK) {
        rc = load_values(y, buf_slice(&text), e);
    }
    if (text.data != NULL) {
        explicit_bzero(text.data, text.cap); /* it may hold keys */
    }
    buf_fini(&text);
    if (rc != MCP_OK) {
        config_yaml_free(&y);
    }
    return y;
}

void config_yaml_free(struct config_yaml **y)
{
    cyaml_config_t config = cyaml_settings(NULL);

    if (*y == NULL) {
        return;
    }
    if ((*y)->values != NULL) {
        (void)cyaml_free(&config, &(*y)->schema.root, (*y)->values, 0); /* fails on bad arguments */
    }
    for (int i = 0; i < NAMED_COUNT; i++) {
        free((*y)->schema.named[i]);
        free((*y)->names[i]);
    }
    config_marks_fini(&(*y)->marks);
    free((*y)->shown);
    free(*y);
    *y = NULL;
}

const struct config_yaml_values *config_yaml_values(const struct config_yaml *y)
{
    return y->values == NULL ? &y->none : y->values;
}

size_t config_yaml_names(const struct config_yaml *y, const char *key, const char *const **names)
{
    for (int i = 0; i < NAMED_COUNT; i++) {
        if (strcmp(named_keys[i], key) == 0) {
            *names = y->names[i];
            return y->name_count[i];
        }
    }
    return 0;
}

bool config_yaml_has(const struct config_yaml *y, const char *key)
{
    return config_marks_find(&y->marks, key, strlen(key)) != NULL;
}

void config_yaml_locate(const struct config_yaml *y, const char *key, char *out, size_t cap)
{
    const struct config_mark *at = NULL;
    size_t len = strlen(key);

    while (len > 0 && (at = config_marks_find(&y->marks, key, len)) == NULL) {
        do {
            len--;
        } while (len > 0 && key[len] != '.' && key[len] != '[');
    }
    if (at == NULL) {
        (void)snprintf(out, cap, "%s: ", y->shown);
    } else {
        (void)snprintf(out, cap, "%s:%zu: ", y->shown, at->line);
    }
}
