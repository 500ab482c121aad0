/* SPDX-License-Identifier: Apache-2.0 */
/* Conversations in files. */
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/chat.h"
#include "cli/state.h"
#include "cli/text.h"

enum { FILE_MAX_BYTES = 64 << 20, NAME_MAX_BYTES = 100 };
static const char SUFFIX[] = ".json";

/* What is not a message belongs to the conversation too. */
static const char *const settings[] = {"model", "options", "format", "think"};

static bool is_name(struct slice name)
{
    return name.len <= NAME_MAX_BYTES && name.ptr[0] != '.';
}

/* Where the conversation of that name is; to be freed. NULL with an error. */
static char *path_of(struct slice name, struct err *e)
{
    const char *home = getenv("HOME");
    char *relative, *path = NULL;
    int len;

    if (slice_starts(name, SLICE("~/")) && home != NULL) {
        len = asprintf(&path, "%s%.*s", home, SLICE_ARG(slice_skip(name, 1)));
    } else if (memchr(name.ptr, '/', name.len) != NULL) {
        len = asprintf(&path, "%.*s", SLICE_ARG(name));
    } else if (!is_name(name)) {
        (void)err_set(e, MCP_EARGUMENT,
                      "expected a name of at most %d bytes that begins with no dot, "
                      "or a path with a slash",
                      NAME_MAX_BYTES);
        return NULL;
    } else {
        len = asprintf(&relative, "chats/%.*s%s", SLICE_ARG(name), SUFFIX);
        if (len >= 0) {
            path = cli_state_path(relative, e);
            free(relative);
        }
    }
    if (len < 0) {
        cli_no_memory();
    }
    return path;
}

int cli_chat_save(const struct chat *chat, struct slice name, struct err *e)
{
    char *path = path_of(name, e), *text;
    size_t len;
    int rc;

    if (path == NULL) {
        return e->code;
    }
    text = yyjson_mut_write(chat->ask.doc, YYJSON_WRITE_PRETTY | YYJSON_WRITE_NEWLINE_AT_END, &len);
    if (text == NULL) {
        cli_no_memory(); /* what is not UTF-8 was refused before */
    }
    rc = cli_state_write(path, slice_of(text, len), e);
    free(text);
    free(path);
    return rc;
}

/* A role and a content for each; what else there is stays with it. */
static bool are_messages(yyjson_val *messages)
{
    yyjson_val *message;
    size_t i, count;

    yyjson_arr_foreach(messages, i, count, message)
    {
        if (!yyjson_is_str(yyjson_obj_get(message, "role")) ||
            !yyjson_is_str(yyjson_obj_get(message, "content"))) {
            return false;
        }
    }
    return yyjson_is_arr(messages);
}

static void put(struct chat *chat, const char *key, yyjson_val *value)
{
    yyjson_mut_doc *doc = chat->ask.doc;
    yyjson_mut_val *copy = yyjson_val_mut_copy(doc, value);

    if (copy == NULL || !yyjson_mut_obj_put(chat->ask.root, yyjson_mut_str(doc, key), copy)) {
        cli_no_memory();
    }
}

static int take(struct chat *chat, yyjson_val *root, struct err *e)
{
    yyjson_val *messages = yyjson_obj_get(root, "messages");

    if (!yyjson_is_str(yyjson_obj_get(root, "model")) || !are_messages(messages)) {
        return err_set(e, MCP_EARGUMENT,
                       "expected a conversation, an object with model and messages");
    }
    for (size_t i = 0; i < sizeof(settings) / sizeof(settings[0]); i++) {
        yyjson_val *value = yyjson_obj_get(root, settings[i]);

        (void)yyjson_mut_obj_remove_key(chat->ask.root, settings[i]); /* there may be none */
        if (value != NULL) {
            put(chat, settings[i], value);
        }
    }
    put(chat, "messages", messages);
    chat->messages = yyjson_mut_obj_get(chat->ask.root, "messages");
    return MCP_OK;
}

int cli_chat_load(struct chat *chat, struct slice name, struct err *e)
{
    char *path = path_of(name, e);
    struct buf text = {0};
    yyjson_read_err why;
    yyjson_doc *doc;
    int rc;

    if (path == NULL) {
        return e->code;
    }
    rc = cli_state_read(path, FILE_MAX_BYTES, &text, e);
    if (rc == MCP_OK && buf_len(&text) == 0) {
        rc = err_set(e, MCP_EARGUMENT, "%s: empty", path);
    } else if (rc == MCP_OK) {
        /* Numbers as they were written. */
        doc = yyjson_read_opts(text.data + text.head, buf_len(&text), YYJSON_READ_NUMBER_AS_RAW,
                               NULL, &why);
        rc = doc == NULL ? err_set(e, MCP_EARGUMENT, "not JSON (%s at byte %zu)", why.msg, why.pos)
                         : take(chat, yyjson_doc_get_root(doc), e);
        if (rc != MCP_OK) {
            err_prefix(e, "%s", path);
        }
        yyjson_doc_free(doc);
    }
    buf_fini(&text);
    free(path);
    return rc;
}

void cli_chat_saved(struct cli_words *names)
{
    char *path = cli_state_path("chats/", NULL);
    DIR *dir = path == NULL ? NULL : opendir(path);
    struct dirent *entry;

    while (dir != NULL && (entry = readdir(dir)) != NULL) {
        size_t len = strlen(entry->d_name), suffix = sizeof(SUFFIX) - 1;

        if (entry->d_name[0] != '.' && len > suffix &&
            strcmp(entry->d_name + len - suffix, SUFFIX) == 0) {
            cli_words_add(names, slice_of(entry->d_name, len - suffix));
        }
    }
    if (dir != NULL) {
        (void)closedir(dir); /* was only read */
    }
    free(path);
}
