/* SPDX-License-Identifier: Apache-2.0 */
/* mcpgate completion: scripts for shells, and what those ask for at each Tab. The answer follows
 * from the commands' own tables: an option's argument of the form a|b|c says its values, MODEL is
 * asked of the gateway, and FILE is left to the shell. */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "cli/commands.h"
#include "cli/completion_scripts.h"
#include "cli/models.h"
#include "cli/text.h"

enum { GATEWAY_WAIT_S = 2 };

struct completion {
    const char *what;
    char **words; /* what follows the program's name on the line; the last one is being typed */
    int word_count;
};

static error_t parse_completion(int key, char *arg, struct argp_state *state)
{
    struct completion *c = state->input;

    switch (key) {
    case ARGP_KEY_ARG:
        if (c->what == NULL) {
            c->what = arg;
            return 0;
        }
        if (strcmp(c->what, "words") != 0) {
            cli_usage(state, "expected one shell, not '%s' too", arg);
        }
        c->words = state->argv + state->next - 1;
        c->word_count = state->argc - state->next + 1;
        state->next = state->argc;
        return 0;
    case ARGP_KEY_NO_ARGS:
        cli_usage(state, "expected bash, zsh or fish");
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

/* --- candidates ------------------------------------------------------------------------------- */

/* What is being typed: of "--model=lla" the last three bytes, behind what stands before them. */
struct typed {
    struct slice before;
    struct slice text;
};

/* One line for each that fits: the value, a tab, what it means. */
static void offer(const struct typed *typed, const char *value, const char *meaning)
{
    if (slice_starts(slice_str(value), typed->text)) {
        (void)printf("%.*s%s\t%s\n", SLICE_ARG(typed->before), value, meaning);
    }
}

/* The value of --host or --key on the line. */
static const char *value_on_line(const struct completion *c, const char *option)
{
    size_t len = strlen(option);

    for (int i = 0; i + 1 < c->word_count; i++) {
        if (strcmp(c->words[i], option) == 0 && i + 2 < c->word_count) {
            return c->words[i + 1];
        }
        if (strncmp(c->words[i], option, len) == 0 && c->words[i][len] == '=') {
            return c->words[i] + len + 1;
        }
    }
    return NULL;
}

/* A shell may take the name as it stands, so one that could mean more to it is not for it. */
static bool is_harmless(const char *name)
{
    return strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_./:@+,") ==
           strlen(name);
}

/* What goes wrong is on standard error, which the scripts do not show. */
static void offer_models(const struct completion *c, const struct typed *typed)
{
    static char name[] = "mcpgate";
    char *argv[] = {name, NULL};
    struct cli_common common = {0};
    struct cli_words models = {0};
    struct cli_conn conn;

    cli_parse(&cli_list_argp, 1, argv, &common); /* for the defaults */
    if (value_on_line(c, "--host") != NULL) {
        common.host = value_on_line(c, "--host");
    }
    if (value_on_line(c, "--key") != NULL) {
        common.key = value_on_line(c, "--key");
    }
    (void)alarm(GATEWAY_WAIT_S); /* the end of this program; nobody waits longer for a Tab */
    if (cli_conn_open(&conn, &common) == CLI_EXIT_OK) {
        (void)cli_models(&conn, &models); /* none then */
    }
    for (size_t i = 0; i < models.count; i++) {
        if (is_harmless(models.texts[i])) {
            offer(typed, models.texts[i], "");
        }
    }
    cli_words_fini(&models);
    cli_conn_close(&conn);
}

/* What an argument may be, by how the tables write it: "FILE", "[MODEL]", "auto|epoll". True: that
 * says something. */
static bool offer_argument(const struct completion *c, const struct typed *typed, const char *form)
{
    struct slice rest = slice_str(form);

    if (rest.len > 1 && rest.ptr[0] == '[') { /* may be left out */
        rest = slice_of(form + 1, rest.len - 2);
    }
    if (strstr(form, "MODEL") != NULL) {
        offer_models(c, typed);
    } else if (strstr(form, "FILE") != NULL) {
        (void)puts(":files");
    } else if (strchr(form, '|') != NULL) {
        while (rest.len > 0) {
            const char *end = memchr(rest.ptr, '|', rest.len);
            size_t len = end == NULL ? rest.len : (size_t)(end - rest.ptr);
            char value[32];

            slice_copy(slice_first(rest, len), value, sizeof(value));
            offer(typed, value, "");
            rest = slice_skip(rest, end == NULL ? len : len + 1);
        }
    } else {
        return false;
    }
    return true;
}

static void offer_options(const struct typed *typed, const struct argp *argp)
{
    const struct argp_option *option = argp->options;

    for (; option != NULL && (option->name != NULL || option->key != 0); option++) {
        char name[64];

        if (option->name != NULL && (option->flags & OPTION_HIDDEN) == 0) {
            (void)snprintf(name, sizeof(name), "--%s", option->name);
            offer(typed, name, option->doc);
        }
    }
    for (const struct argp_child *child = argp->children; child != NULL && child->argp != NULL;
         child++) {
        offer_options(typed, child->argp);
    }
}

/* The option of that long name, or of that letter; NULL: none. */
static const struct argp_option *find_option(const struct argp *argp, struct slice name, int letter)
{
    const struct argp_option *option = argp->options;

    for (; option != NULL && (option->name != NULL || option->key != 0); option++) {
        if (option->name != NULL &&
            (letter != 0 ? option->key == letter : slice_eq(slice_str(option->name), name))) {
            return option;
        }
    }
    for (const struct argp_child *child = argp->children; child != NULL && child->argp != NULL;
         child++) {
        option = find_option(child->argp, name, letter);
        if (option != NULL) {
            return option;
        }
    }
    return NULL;
}

/* The option whose argument the word behind `word` is; NULL: none. */
static const struct argp_option *wants_argument(const struct argp *argp, const char *word)
{
    const struct argp_option *option = NULL;

    if (strncmp(word, "--", 2) == 0) {
        option = find_option(argp, slice_str(word + 2), 0);
    } else if (word[0] == '-' && word[1] != '\0') {
        option = find_option(argp, (struct slice){"", 0}, word[strlen(word) - 1]);
    }
    return option != NULL && option->arg != NULL ? option : NULL;
}

static void offer_commands(const struct typed *typed)
{
    for (const struct cli_command *command = cli_commands; command->name != NULL; command++) {
        offer(typed, command->name, command->meaning);
    }
}

/* Of a command's own words, the last of which is being typed. */
static void offer_for_command(const struct completion *c, const struct cli_command *command)
{
    const struct argp *argp = command->argp;
    char *last = c->words[c->word_count - 1];
    const struct argp_option *option =
        c->word_count > 2 ? wants_argument(argp, c->words[c->word_count - 2]) : NULL;
    struct typed typed = {.before = {"", 0}, .text = slice_str(last)};
    char *equals = strncmp(last, "--", 2) == 0 ? strchr(last, '=') : NULL;

    if (option == NULL && equals != NULL) {
        option = find_option(argp, slice_of(last + 2, (size_t)(equals - last - 2)), 0);
        typed.before = slice_of(last, (size_t)(equals - last + 1));
        typed.text = slice_str(equals + 1);
        if (option == NULL || option->arg == NULL) {
            return;
        }
    }
    if (option != NULL) {
        (void)offer_argument(c, &typed, option->arg); /* a number, an address: nothing to say */
    } else if (last[0] == '-' || argp->args_doc == NULL ||
               !offer_argument(c, &typed, argp->args_doc)) {
        offer_options(&typed, argp);
        offer(&typed, "--help", "show the options");
    }
}

static void complete(const struct completion *c)
{
    struct typed typed = {.before = {"", 0}};
    const struct cli_command *command;

    if (c->word_count == 0) {
        return;
    }
    typed.text = slice_str(c->words[c->word_count - 1]);
    if (c->word_count == 1) {
        offer_commands(&typed);
        offer(&typed, "--help", "list the commands");
        offer(&typed, "--version", "show the version");
        return;
    }
    command = cli_command_find(c->words[0]);
    if (command != NULL) {
        offer_for_command(c, command);
    } else if (strcmp(c->words[0], "help") == 0 && c->word_count == 2) {
        offer_commands(&typed);
    }
}

/* --- the command ------------------------------------------------------------------------------ */

const struct argp cli_completion_argp = {
    .parser = parse_completion,
    .args_doc = "bash|zsh|fish",
    .doc = "Prints what a shell needs to complete commands, options and models at Tab.\v"
           "For example in ~/.bashrc: source <(mcpgate completion bash)",
    .children = cli_help_children,
};

int cli_completion(int argc, char **argv)
{
    struct completion c = {0};

    cli_parse(&cli_completion_argp, argc, argv, &c);
    if (strcmp(c.what, "words") == 0) {
        complete(&c);
    } else if (strcmp(c.what, "bash") == 0) {
        (void)fputs(CLI_COMPLETION_BASH, stdout); /* failures are seen at the end */
    } else if (strcmp(c.what, "zsh") == 0) {
        (void)fputs(CLI_COMPLETION_ZSH, stdout);
    } else if (strcmp(c.what, "fish") == 0) {
        (void)fputs(CLI_COMPLETION_FISH, stdout);
    } else {
        cli_error("expected bash, zsh or fish, not '%s'; see mcpgate completion --help", c.what);
        return CLI_EXIT_USAGE;
    }
    return CLI_EXIT_OK;
}
