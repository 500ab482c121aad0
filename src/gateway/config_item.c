/* SPDX-License-Identifier: Apache-2.0 */
#include "gateway/config_item.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/check.h"
#include "gateway/config.h"
#include "gateway/dns_url.h"
#include "gateway/origin.h"
#include "http/parse/url.h"
#include "reactor/addr.h"

enum { SECRET_MAX = 4096, NAME_MAX_BYTES = 64, MODEL_MAX_BYTES = 200, OPTION_DIGITS_MAX = 12 };

const struct config_item config_items[CONFIG_ITEM_COUNT] = {
#define CONFIG_ITEM(id, section_, key_, type_, initial_, least_, most_, structure_, member_,       \
                    help_)                                                                         \
    {                                                                                              \
        .section = section_,                                                                       \
        .key = key_,                                                                               \
        .type = CONFIG_TYPE_##type_,                                                               \
        .initial = initial_,                                                                       \
        .least = least_,                                                                           \
        .most = most_,                                                                             \
        .offset = offsetof(struct structure_, member_),                                            \
        .help = help_,                                                                             \
    },
#include "gateway/config.def"
#undef CONFIG_ITEM
};

struct unit {
    const char *name;
    uint64_t factor;
};
static const struct unit size_units[] = {{"TiB", UINT64_C(1) << 40},
                                         {"GiB", UINT64_C(1) << 30},
                                         {"MiB", UINT64_C(1) << 20},
                                         {"KiB", UINT64_C(1) << 10},
                                         {"B", 1}};
static const struct unit time_units[] = {{"h", 3600000}, {"m", 60000}, {"s", 1000}, {"ms", 1}};

struct choice {
    const char *name;
    unsigned value;
};
static const struct choice kinds[] = {{"auto", CONFIG_KIND_AUTO},
                                      {"ollama", CONFIG_KIND_OLLAMA},
                                      {"openai", CONFIG_KIND_OPENAI},
                                      {0}};
static const struct choice classes[] = {{"interactive", PRIORITY_INTERACTIVE},
                                        {"normal", PRIORITY_NORMAL},
                                        {"batch", PRIORITY_BATCH},
                                        {0}};
static const struct choice levels[] = {{"debug", LOG_LEVEL_DEBUG},
                                       {"info", LOG_LEVEL_INFO},
                                       {"warn", LOG_LEVEL_WARN},
                                       {"error", LOG_LEVEL_ERROR},
                                       {0}};
static const struct choice backends[] = {{"auto", LOOP_BACKEND_AUTO},
                                         {"epoll", LOOP_BACKEND_EPOLL},
                                         {"io_uring", LOOP_BACKEND_URING},
                                         {0}};
static const struct choice batches[] = {
    {"auto", CONFIG_BATCH_AUTO}, {"on", CONFIG_BATCH_ON}, {"off", CONFIG_BATCH_OFF}, {0}};
static const struct choice stickies[] = {{"key", CONFIG_STICKY_KEY},
                                         {"session", CONFIG_STICKY_SESSION},
                                         {"request", CONFIG_STICKY_REQUEST},
                                         {0}};
static const struct choice shares[] = {
    {"client", CONFIG_SHARE_CLIENT}, {"all", CONFIG_SHARE_ALL}, {"off", CONFIG_SHARE_OFF}, {0}};
static const struct choice timings[] = {{"asked", CONFIG_TIMING_ASKED},
                                        {"always", CONFIG_TIMING_ALWAYS},
                                        {"off", CONFIG_TIMING_OFF},
                                        {0}};
static const struct choice queues[] = {
    {"auto", CONFIG_QUEUE_AUTO}, {"always", CONFIG_QUEUE_ALWAYS}, {0}};
static const struct choice modes[] = {
    {"main-sub", CONFIG_MODE_MAIN_SUB}, {"single", CONFIG_MODE_SINGLE}, {0}};

/* --- what is expected ------------------------------------------------------------------------- */

/* In the largest unit that divides it, "90s" rather than "1.5m". */
static void print_number(uint64_t value, enum config_type type, char *out, size_t cap)
{
    const struct unit *units = type == CONFIG_TYPE_SIZE ? size_units : time_units;

    if (type == CONFIG_TYPE_COUNT || type == CONFIG_TYPE_SLOTS) {
        (void)snprintf(out, cap, "%" PRIu64, value); /* 20 digits fit */
        return;
    }
    while (units->factor > 1 && (value < units->factor || value % units->factor != 0)) {
        units++;
    }
    (void)snprintf(out, cap, "%" PRIu64 "%s", value / units->factor, units->name);
}

static const char *expected_form(enum config_type type)
{
    switch (type) {
    case CONFIG_TYPE_ADDRESS:
        return "host:port, [v6]:port, unix:PATH or off";
    case CONFIG_TYPE_CLASS:
        return "interactive, normal or batch";
    case CONFIG_TYPE_COUNT:
        return "a whole number";
    case CONFIG_TYPE_FLAG:
        return "true or false";
    case CONFIG_TYPE_HEADER_NAME:
        return "a header's name";
    case CONFIG_TYPE_HEADER_VALUE:
        return "a header's value, in one line";
    case CONFIG_TYPE_KIND:
        return "ollama, openai or auto";
    case CONFIG_TYPE_LEVEL:
        return "debug, info, warn or error";
    case CONFIG_TYPE_LOG:
        return "stderr, off or the path of a file";
    case CONFIG_TYPE_BACKEND:
        return "auto, epoll or io_uring";
    case CONFIG_TYPE_BATCH:
        return "auto, on or off";
    case CONFIG_TYPE_SHARE:
        return "client, all or off";
    case CONFIG_TYPE_MODE:
        return "main-sub or single";
    case CONFIG_TYPE_MODELS:
        return "a list of models";
    case CONFIG_TYPE_PATH:
        return "a path";
    case CONFIG_TYPE_MODEL:
        return "a model's name";
    case CONFIG_TYPE_OPTION:
        return "a whole number, true or false";
    case CONFIG_TYPE_STICKY:
        return "key, session or request";
    case CONFIG_TYPE_NAME:
        return "a name of at most 64 printable ASCII characters without blanks";
    case CONFIG_TYPE_NETWORKS:
        return "a list of addresses and networks such as 10.0.0.0/8 or fd00::7, and unix";
    case CONFIG_TYPE_ORIGINS:
        return "origins such as https://chat.example or http://*.lan, with commas between them";
    case CONFIG_TYPE_QUEUE:
        return "auto or always";
    case CONFIG_TYPE_SECRET:
        return "a key of printable ASCII characters without blanks";
    case CONFIG_TYPE_SECRET_FILE:
        return "the path of a file that holds a key";
    case CONFIG_TYPE_SIZE:
        return "a size such as 512B, 64KiB, 16MiB or 1GiB";
    case CONFIG_TYPE_SLOTS:
        return "unlimited, auto, or a whole number";
    case CONFIG_TYPE_TIME:
        return "a time such as 500ms, 30s, 10m or 1h";
    case CONFIG_TYPE_TIMING:
        return "asked, always or off";
    case CONFIG_TYPE_RESOLVER:
        return "the address of a server and its port, such as 127.0.0.1:8600";
    case CONFIG_TYPE_URL:
        return "http://host:port, unix:PATH, dns://NAME:PORT or srv://_SERVICE._tcp.NAME";
    }
    return "";
}

void config_item_expected(const struct config_item *item, char out[CONFIG_EXPECTED_MAX])
{
    char least[32], most[32];

    if (item->most == 0) {
        (void)snprintf(out, CONFIG_EXPECTED_MAX, "%s", expected_form(item->type));
        return;
    }
    print_number(item->least, item->type, least, sizeof(least));
    print_number(item->most, item->type, most, sizeof(most));
    (void)snprintf(out, CONFIG_EXPECTED_MAX, "%s, from %s to %s", expected_form(item->type), least,
                   most);
}

static int refuse(const struct config_item *item, const char *text, struct err *e)
{
    char expected[CONFIG_EXPECTED_MAX];
    /* A secret in the wrong place stays out of the message. */
    bool hidden = item->type == CONFIG_TYPE_SECRET || item->type == CONFIG_TYPE_HEADER_VALUE;

    config_item_expected(item, expected);
    if (hidden) {
        return err_set(e, MCP_EARGUMENT, "expected %s", expected);
    }
    return err_set(e, MCP_EARGUMENT, "expected %s, not '%.40s%s'", expected, text,
                   strlen(text) > 40 ? "..." : "");
}

/* --- one type each ---------------------------------------------------------------------------- */

static bool read_number(const char *text, const struct unit *units, size_t unit_count,
                        uint64_t *value)
{
    size_t digits = strspn(text, "0123456789");
    uint64_t n = 0;

    if (digits == 0) {
        return false;
    }
    for (size_t i = 0; i < digits; i++) {
        if (__builtin_mul_overflow(n, 10, &n) ||
            __builtin_add_overflow(n, (uint64_t)(text[i] - '0'), &n)) {
            return false;
        }
    }
    for (size_t i = 0; i < unit_count; i++) {
        if (strcmp(text + digits, units[i].name) == 0) {
            return !__builtin_mul_overflow(n, units[i].factor, value);
        }
    }
    return false;
}

static int set_number(const struct config_item *item, uint64_t *member, const char *text,
                      struct err *e)
{
    static const struct unit pieces[] = {{"", 1}};
    uint64_t value = 0;
    bool ok;

    if (item->type == CONFIG_TYPE_SIZE) {
        ok = read_number(text, size_units, sizeof(size_units) / sizeof(size_units[0]), &value);
    } else if (item->type == CONFIG_TYPE_TIME) {
        ok = read_number(text, time_units, sizeof(time_units) / sizeof(time_units[0]), &value);
    } else {
        ok = read_number(text, pieces, 1, &value);
    }
    if (!ok || value < item->least || value > item->most) {
        return refuse(item, text, e);
    }
    *member = value;
    return MCP_OK;
}

static int set_slots(const struct config_item *item, int64_t *member, const char *text,
                     struct err *e)
{
    uint64_t count = 0;
    int rc = MCP_OK;

    if (strcmp(text, "unlimited") == 0) {
        *member = CONFIG_SLOTS_UNLIMITED;
    } else if (strcmp(text, "auto") == 0) {
        *member = CONFIG_SLOTS_AUTO;
    } else if ((rc = set_number(item, &count, text, e)) == MCP_OK) {
        *member = (int64_t)count;
    }
    return rc;
}

static int set_string(char **member, const char *text, struct err *e)
{
    free(*member);
    *member = text == NULL ? NULL : slice_dup(slice_str(text));
    return text != NULL && *member == NULL ? err_set(e, MCP_ENOMEM, "out of memory") : MCP_OK;
}

/* Bytes from `first` to 0x7e only, and at least one. */
static bool is_printable(const char *text, char first)
{
    const char *c = text;

    while (*c >= first && *c <= '~') {
        c++;
    }
    return *c == '\0' && c != text;
}

static bool is_header_name(const char *text)
{
    return text[0] != '\0' && text[strspn(text, "!#$%&'*+-.^_`|~0123456789"
                                                "abcdefghijklmnopqrstuvwxyz"
                                                "ABCDEFGHIJKLMNOPQRSTUVWXYZ")] == '\0';
}

/* Those that say where a message ends or who it is for are the gateway's own. */
static bool is_own_header(const char *name)
{
    static const char *const own[] = {"Connection", "Content-Length", "Content-Type",      "Expect",
                                      "Host",       "Keep-Alive",     "Transfer-Encoding", "TE",
                                      "Upgrade"};

    for (size_t i = 0; i < sizeof(own) / sizeof(own[0]); i++) {
        if (strcasecmp(own[i], name) == 0) {
            return true;
        }
    }
    return false;
}

/* A number as JSON has it, or a word of JSON. */
static bool is_option(const char *text)
{
    const char *digits = text + (text[0] == '-');
    size_t count = strspn(digits, "0123456789");

    return strcmp(text, "true") == 0 || strcmp(text, "false") == 0 ||
           (count > 0 && count <= OPTION_DIGITS_MAX && digits[count] == '\0' &&
            (digits[0] != '0' || count == 1));
}

static int set_header_name(const struct config_item *item, char **member, const char *text,
                           struct err *e)
{
    if (!is_header_name(text)) {
        return refuse(item, text, e);
    }
    if (is_own_header(text)) {
        return err_set(e, MCP_EARGUMENT, "the gateway sets '%.40s' itself", text);
    }
    return set_string(member, text, e);
}

/* --- secrets ---------------------------------------------------------------------------------- */

/* The whole file in `text` without blanks and line ends behind it; at most SECRET_MAX bytes. */
static int read_secret(const char *path, char text[SECRET_MAX + 1], bool *exposed, struct err *e)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    struct stat st;
    size_t len = 0;
    ssize_t n = 0;

    if (fd < 0) {
        return err_set(e, MCP_EARGUMENT, "cannot read %.120s: %s", path, strerror(errno));
    }
    while (len < SECRET_MAX + 1 && (n = read(fd, text + len, SECRET_MAX + 1 - len)) > 0) {
        len += (size_t)n;
    }
    if (n < 0) {
        (void)err_set(e, MCP_EARGUMENT, "cannot read %.120s: %s", path, strerror(errno));
        (void)close(fd);
        return MCP_EARGUMENT;
    }
    if (fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && (st.st_mode & (S_IROTH | S_IWOTH)) != 0) {
        *exposed = true;
    }
    (void)close(fd);
    if (len > SECRET_MAX || memchr(text, '\0', len) != NULL) {
        return err_set(e, MCP_EARGUMENT, "%.120s does not hold a key", path);
    }
    while (len > 0 && strchr(" \t\r\n", text[len - 1]) != NULL) {
        len--;
    }
    text[len] = '\0';
    return MCP_OK;
}

/* The file of that name, from `dir` (NULL: as it is); the caller's. NULL: out of memory. */
static char *path_from(const char *dir, const char *name)
{
    char *path;

    if (dir == NULL || name[0] == '/' || name[0] == '\0') {
        return slice_dup(slice_str(name));
    }
    return asprintf(&path, "%s/%s", dir, name) < 0 ? NULL : path;
}

static int set_secret_file(char **member, const char *name, const char *dir, bool *exposed,
                           struct err *e)
{
    char text[SECRET_MAX + 1];
    char *path = path_from(dir, name);
    int rc;

    if (path == NULL) {
        return err_set(e, MCP_ENOMEM, "out of memory");
    }
    rc = read_secret(path, text, exposed, e);
    if (rc == MCP_OK && !is_printable(text, '!')) {
        rc =
            err_set(e, MCP_EARGUMENT, "%.120s holds no %s", path,
                    text[0] == '\0' ? "key, it is empty" : "key of printable ASCII without blanks");
    }
    if (rc == MCP_OK) {
        rc = set_string(member, text, e);
    }
    explicit_bzero(text, sizeof(text));
    free(path);
    return rc;
}

/* --- all of them ------------------------------------------------------------------------------ */

static int set_address(const struct config_item *item, char **member, const char *text,
                       struct err *e)
{
    struct addr a;

    if (strcmp(text, "off") == 0) {
        return set_string(member, NULL, e);
    }
    if (addr_parse(&a, slice_str(text), NULL) != MCP_OK) {
        return refuse(item, text, e);
    }
    return set_string(member, text, e);
}

static bool is_resolver(const char *text)
{
    struct addr a;

    return addr_parse(&a, slice_str(text), NULL) == MCP_OK && addr_port(&a) != 0 && text[0] != ':';
}

static int set_url(char **member, const char *text, struct err *e)
{
    struct url u;
    struct dns_url several;
    int rv = dns_url_is(slice_str(text)) ? dns_url_parse(&several, slice_str(text), e)
                                         : url_parse(&u, slice_str(text), e);

    if (rv != MCP_OK) {
        err_prefix(e, "'%.60s'", text);
        return MCP_EARGUMENT;
    }
    return set_string(member, text, e);
}

static int set_checked(const struct config_item *item, char **member, const char *text, bool ok,
                       struct err *e)
{
    return ok ? set_string(member, text, e) : refuse(item, text, e);
}

/* `choices` are the values of an enum, which is an unsigned int here. */
static int set_choice(const struct config_item *item, unsigned *member,
                      const struct choice *choices, const char *text, struct err *e)
{
    for (; choices->name != NULL; choices++) {
        if (strcmp(choices->name, text) == 0) {
            *member = choices->value;
            return MCP_OK;
        }
    }
    return refuse(item, text, e);
}

static int set_flag(const struct config_item *item, bool *member, const char *text, struct err *e)
{
    if (strcmp(text, "true") != 0 && strcmp(text, "false") != 0) {
        return refuse(item, text, e);
    }
    *member = text[0] == 't';
    return MCP_OK;
}

static int set_log(const struct config_item *item, char **member, const char *text, const char *dir,
                   struct err *e)
{
    bool is_file = strcmp(text, "stderr") != 0 && strcmp(text, "off") != 0;
    char *path = path_from(is_file ? dir : NULL, text);
    int rc;

    if (path == NULL) {
        return err_set(e, MCP_ENOMEM, "out of memory");
    }
    rc = set_checked(item, member, strcmp(text, "stderr") == 0 ? NULL : path, text[0] != '\0', e);
    free(path);
    return rc;
}

static int set_path(const struct config_item *item, char **member, const char *text,
                    const char *dir, struct err *e)
{
    char *path = path_from(dir, text);
    int rc;

    if (path == NULL) {
        return err_set(e, MCP_ENOMEM, "out of memory");
    }
    rc = set_checked(item, member, path, text[0] != '\0', e);
    free(path);
    return rc;
}

bool config_item_is_list(const struct config_item *item)
{
    return item->type == CONFIG_TYPE_MODELS || item->type == CONFIG_TYPE_NETWORKS;
}

void config_item_name(const struct config_item *item, char *out, size_t cap)
{
    (void)snprintf(out, cap, "%s%s%s", item->section, item->key[0] == '\0' ? "" : ".", item->key);
}

bool config_item_is_single(const struct config_item *item)
{
    return strcmp(item->section, "nodes") != 0 && strcmp(item->section, "headers") != 0 &&
           strcmp(item->section, "keys") != 0 && strcmp(item->section, "routes") != 0 &&
           strcmp(item->section, "arms") != 0 && strcmp(item->section, "pin") != 0;
}

int config_item_set(const struct config_item *item, void *owner, const char *text, const char *dir,
                    bool *exposed, struct err *e)
{
    void *member = (char *)owner + item->offset;

    switch (item->type) {
    case CONFIG_TYPE_ADDRESS:
        return set_address(item, member, text, e);
    case CONFIG_TYPE_CLASS:
        return set_choice(item, member, classes, text, e);
    case CONFIG_TYPE_SLOTS:
        return set_slots(item, member, text, e);
    case CONFIG_TYPE_COUNT:
    case CONFIG_TYPE_SIZE:
    case CONFIG_TYPE_TIME:
        return set_number(item, member, text, e);
    case CONFIG_TYPE_KIND:
        return set_choice(item, member, kinds, text, e);
    case CONFIG_TYPE_LEVEL:
        return set_choice(item, member, levels, text, e);
    case CONFIG_TYPE_QUEUE:
        return set_choice(item, member, queues, text, e);
    case CONFIG_TYPE_BACKEND:
        return set_choice(item, member, backends, text, e);
    case CONFIG_TYPE_MODE:
        return set_choice(item, member, modes, text, e);
    case CONFIG_TYPE_BATCH:
        return set_choice(item, member, batches, text, e);
    case CONFIG_TYPE_SHARE:
        return set_choice(item, member, shares, text, e);
    case CONFIG_TYPE_STICKY:
        return set_choice(item, member, stickies, text, e);
    case CONFIG_TYPE_TIMING:
        return set_choice(item, member, timings, text, e);
    case CONFIG_TYPE_MODEL:
        return set_checked(item, member, text,
                           strlen(text) <= MODEL_MAX_BYTES && is_printable(text, '!'), e);
    case CONFIG_TYPE_OPTION:
        return set_checked(item, member, text, is_option(text), e);
    case CONFIG_TYPE_FLAG:
        return set_flag(item, member, text, e);
    case CONFIG_TYPE_HEADER_NAME:
        return set_header_name(item, member, text, e);
    case CONFIG_TYPE_HEADER_VALUE:
        return set_checked(item, member, text, text[0] == '\0' || is_printable(text, ' '), e);
    case CONFIG_TYPE_LOG:
        return set_log(item, member, text, dir, e);
    case CONFIG_TYPE_MODELS:
    case CONFIG_TYPE_NETWORKS:
        break; /* a list, not a text: config.c */
    case CONFIG_TYPE_PATH:
        return set_path(item, member, text, dir, e);
    case CONFIG_TYPE_NAME:
        return set_checked(item, member, text,
                           strlen(text) <= NAME_MAX_BYTES && is_printable(text, '!'), e);
    case CONFIG_TYPE_ORIGINS:
        return set_checked(item, member, text, is_printable(text, ' ') && origins_are_fine(text),
                           e);
    case CONFIG_TYPE_RESOLVER:
        return set_checked(item, member, text, is_resolver(text), e);
    case CONFIG_TYPE_SECRET:
        return set_checked(item, member, text, is_printable(text, '!'), e);
    case CONFIG_TYPE_SECRET_FILE:
        return set_secret_file(member, text, dir, exposed, e);
    case CONFIG_TYPE_URL:
        return set_url(member, text, e);
    }
    return err_set(e, MCP_EINTERNAL, "%s.%s has no type", item->section, item->key);
}
