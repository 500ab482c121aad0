/* SPDX-License-Identifier: Apache-2.0 */
/* What can be typed into a chat besides what the model is told: the commands and their completion.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/chat.h"
#include "cli/models.h"
#include "cli/text.h"

/* The first word of a text, and what follows it; both without blanks around them. */
static struct slice first_word(struct slice text, struct slice *rest)
{
    size_t len = 0;

    text = slice_trim(text);
    while (len < text.len && strchr(" \t\n", text.ptr[len]) == NULL) {
        len++;
    }
    *rest = slice_trim(slice_skip(text, len));
    return slice_first(text, len);
}

static void put(struct chat *chat, const char *key, yyjson_mut_val *value)
{
    if (!yyjson_mut_obj_put(chat->ask.root, yyjson_mut_str(chat->ask.doc, key), value)) {
        cli_no_memory();
    }
}

/* --- /set ------------------------------------------------------------------------------------- */

/* How many arguments there may be is checked before; false: it takes none like these. */
typedef bool (*setting_fn)(struct chat *chat, struct slice arguments);

static bool set_format(struct chat *chat, struct slice arguments)
{
    if (!slice_eq(arguments, SLICE("json"))) {
        return false;
    }
    put(chat, "format", yyjson_mut_str(chat->ask.doc, "json"));
    return true;
}

static bool set_noformat(struct chat *chat, struct slice arguments)
{
    (void)arguments;
    (void)yyjson_mut_obj_remove_key(chat->ask.root, "format"); /* there may be none */
    return true;
}

static bool set_history(struct chat *chat, struct slice arguments)
{
    struct cli_words unused = {0};

    (void)arguments;
    if (chat->history.fd < 0) {
        cli_history_open(&chat->history, &unused);
        cli_words_fini(&unused);
    }
    return true;
}

static bool set_nohistory(struct chat *chat, struct slice arguments)
{
    (void)arguments;
    cli_history_close(&chat->history);
    return true;
}

/* NAME VALUE...; several values are a list, as stop has them. */
static bool set_parameter(struct chat *chat, struct slice arguments)
{
    struct slice rest, more, name = first_word(arguments, &rest), value = first_word(rest, &more);
    yyjson_mut_val *list;

    if (value.len == 0) {
        return false;
    }
    if (more.len == 0) {
        cli_ask_set_option(&chat->ask, name, cli_ask_value(chat->ask.doc, value));
        return true;
    }
    list = yyjson_mut_arr(chat->ask.doc);
    for (; value.len > 0; value = first_word(more, &more)) {
        if (!yyjson_mut_arr_add_val(list, cli_ask_value(chat->ask.doc, value))) {
            cli_no_memory();
        }
    }
    cli_ask_set_option(&chat->ask, name, list);
    return true;
}

static bool set_system(struct chat *chat, struct slice arguments)
{
    cli_chat_set_system(chat, cli_chat_unquote(arguments));
    return true;
}

static bool set_think(struct chat *chat, struct slice arguments)
{
    put(chat, "think",
        arguments.len == 0 ? yyjson_mut_bool(chat->ask.doc, true)
                           : yyjson_mut_strncpy(chat->ask.doc, arguments.ptr, arguments.len));
    return true;
}

static bool set_nothink(struct chat *chat, struct slice arguments)
{
    (void)arguments;
    put(chat, "think", yyjson_mut_bool(chat->ask.doc, false));
    return true;
}

static bool set_verbose(struct chat *chat, struct slice arguments)
{
    (void)arguments;
    chat->ask.verbose = true;
    return true;
}

static bool set_quiet(struct chat *chat, struct slice arguments)
{
    (void)arguments;
    chat->ask.verbose = false;
    return true;
}

static const struct entry {
    const char *name;
    const char *arguments; /* "" none; in brackets: may be left out */
    const char *meaning;
    setting_fn run;
} settings[] = {
#define CHAT_SETTING(function, name, arguments, meaning) {name, arguments, meaning, function},
#include "cli/chat_settings.def"
#undef CHAT_SETTING
    {0},
};

/* --- the commands ----------------------------------------------------------------------------- */

static bool run_help(struct chat *chat, struct slice arguments); /* below the table it prints */
static bool run_set(struct chat *chat, struct slice arguments);  /* below what it calls */

/* These return false where it is the end. */
static bool run_bye(struct chat *chat, struct slice arguments)
{
    (void)chat;
    (void)arguments;
    return false;
}

static bool run_clear(struct chat *chat, struct slice arguments)
{
    yyjson_mut_val *first = yyjson_mut_arr_get_first(chat->messages);
    bool has_system = yyjson_mut_equals_str(yyjson_mut_obj_get(first, "role"), "system");

    (void)arguments;
    while (yyjson_mut_arr_size(chat->messages) > (has_system ? 1 : 0)) {
        (void)yyjson_mut_arr_remove_last(chat->messages); /* its memory goes with the document */
    }
    (void)puts("Forgot the conversation.");
    return true;
}

static bool run_load(struct chat *chat, struct slice arguments)
{
    struct err e = {0};

    if (cli_chat_load(chat, arguments, &e) != MCP_OK) {
        cli_error("/load: %s", e.text);
        return true;
    }
    (void)printf("Loaded %zu message(s); the model is ", yyjson_mut_arr_size(chat->messages));
    cli_put(stdout, slice_str(cli_chat_model(chat)));
    (void)puts(".");
    return true;
}

static bool run_save(struct chat *chat, struct slice arguments)
{
    struct err e = {0};

    if (cli_chat_save(chat, arguments, &e) != MCP_OK) {
        cli_error("/save: %s", e.text);
        return true;
    }
    (void)printf("Saved; /load %.*s brings it back.\n", SLICE_ARG(arguments));
    return true;
}

/* What goes wrong is said, and there are none then. */
static void find_models(struct chat *chat, struct cli_words *models)
{
    cli_interrupted_clear();
    if (cli_conn_refresh(&chat->conn) == CLI_EXIT_OK) {
        (void)cli_models(&chat->conn, models);
    }
}

static bool run_model(struct chat *chat, struct slice arguments)
{
    struct cli_words models = {0};

    if (arguments.len > 0) {
        put(chat, "model", yyjson_mut_strncpy(chat->ask.doc, arguments.ptr, arguments.len));
        return true;
    }
    find_models(chat, &models);
    for (size_t i = 0; i < models.count; i++) {
        bool is_this = strcmp(models.texts[i], cli_chat_model(chat)) == 0;

        (void)fputs(is_this ? "* " : "  ", stdout);
        cli_put(stdout, slice_str(models.texts[i]));
        (void)fputc('\n', stdout);
    }
    cli_words_fini(&models);
    return true;
}

static void show_member(const char *name, yyjson_mut_val *value)
{
    char *text = value == NULL ? NULL : yyjson_mut_val_write(value, YYJSON_WRITE_NOFLAG, NULL);

    if (text != NULL) {
        (void)printf("  %-12s", name);
        cli_put(stdout, slice_str(text));
        (void)fputc('\n', stdout);
        free(text);
    }
}

static bool run_show(struct chat *chat, struct slice arguments)
{
    yyjson_mut_val *root = chat->ask.root, *first = yyjson_mut_arr_get_first(chat->messages);

    (void)arguments;
    show_member("model", yyjson_mut_obj_get(root, "model"));
    show_member("parameters", yyjson_mut_obj_get(root, "options"));
    show_member("format", yyjson_mut_obj_get(root, "format"));
    show_member("think", yyjson_mut_obj_get(root, "think"));
    if (yyjson_mut_equals_str(yyjson_mut_obj_get(first, "role"), "system")) {
        show_member("system", yyjson_mut_obj_get(first, "content"));
    }
    (void)printf("  %-12s%zu\n", "messages", yyjson_mut_arr_size(chat->messages));
    return true;
}

static const struct entry commands[] = {
#define CHAT_COMMAND(function, name, arguments, meaning) {name, arguments, meaning, function},
#include "cli/chat_commands.def"
#undef CHAT_COMMAND
    {0},
};

static void print_entries(const struct entry *entries, const char *before)
{
    for (; entries->name != NULL; entries++) {
        char left[64];

        (void)snprintf(left, sizeof(left), "%s%s %s", before, entries->name, entries->arguments);
        (void)printf("  %-30s%s\n", left, entries->meaning);
    }
}

static bool run_help(struct chat *chat, struct slice arguments)
{
    (void)chat;
    (void)arguments;
    print_entries(commands, "");
    (void)puts("\n  \"\"\"                           begins and ends a text of several lines\n"
               "  Ctrl-C                        break the answer off, or the line\n"
               "  Tab                           complete a command, a model, a name");
    return true;
}

static const struct entry *find(const struct entry *entries, struct slice name)
{
    for (; entries->name != NULL; entries++) {
        if (slice_eq(name, slice_str(entries->name))) {
            return entries;
        }
    }
    return NULL;
}

/* Runs an entry with arguments as it takes them; else says what was expected. */
static bool run_entry(const struct entry *entry, const char *before, struct chat *chat,
                      struct slice arguments)
{
    bool takes_some = entry->arguments[0] != '\0', may_lack = entry->arguments[0] == '[';

    if ((arguments.len > 0 && !takes_some) || (arguments.len == 0 && takes_some && !may_lack)) {
        cli_error("expected %s%s%s%s", before, entry->name, takes_some ? " " : "",
                  entry->arguments);
        return true;
    }
    return entry->run(chat, arguments);
}

static bool run_set(struct chat *chat, struct slice arguments)
{
    struct slice rest, name = first_word(arguments, &rest);
    const struct entry *setting = find(settings, name);

    if (name.len == 0) {
        print_entries(settings, "/set ");
    } else if (setting == NULL) {
        cli_error("no setting '%.*s'; see /set", SLICE_ARG(name));
    } else if (!run_entry(setting, "/set ", chat, rest)) {
        cli_error("expected /set %s %s", setting->name, setting->arguments);
    }
    return true;
}

bool cli_chat_command(struct chat *chat, struct slice line)
{
    struct slice rest, name = first_word(line, &rest);
    const struct entry *command =
        find(commands, slice_eq(name, SLICE("/?")) ? SLICE("/help") : name);

    if (command == NULL) {
        cli_error("no command '%.*s'; see /help", SLICE_ARG(name));
        return true;
    }
    return run_entry(command, "", chat, rest);
}

/* --- completion ------------------------------------------------------------------------------- */

static void add_names(const struct entry *entries, struct cli_words *words)
{
    for (; entries->name != NULL; entries++) {
        cli_words_add(words, slice_str(entries->name));
    }
}

size_t cli_chat_complete(void *owner, struct slice before, struct cli_words *words)
{
    struct chat *chat = owner;
    struct slice rest, command = first_word(before, &rest);
    size_t begin = before.len;

    while (begin > 0 && before.ptr[begin - 1] != ' ') {
        begin--;
    }
    if (begin == 0) {
        add_names(commands, words);
    } else if (memchr(rest.ptr, ' ', rest.len) != NULL || (rest.len > 0 && begin == before.len)) {
        return begin; /* behind the first argument */
    } else if (slice_eq(command, SLICE("/set"))) {
        add_names(settings, words);
    } else if (slice_eq(command, SLICE("/model"))) {
        find_models(chat, words);
    } else if (slice_eq(command, SLICE("/load")) || slice_eq(command, SLICE("/save"))) {
        cli_chat_saved(words);
    }
    return begin;
}
