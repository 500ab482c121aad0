/* SPDX-License-Identifier: Apache-2.0 */
/* mcpgate COMMAND ...: finds the command and runs it. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/version.h"
#include "cli/commands.h"
#include "cli/text.h"

enum { NAME_MAX_BYTES = 32 };

static const struct {
    int status;
    const char *meaning;
} exits[] = {
#define CLI_EXIT(name, number, meaning) {number, meaning},
#include "cli/exits.def"
#undef CLI_EXIT
};

static void print_help(FILE *f)
{
    (void)fputs("Usage: mcpgate COMMAND [OPTION...]\n"
                "A gateway that speaks MCP (Model Communication Protocol) and HTTP in front of "
                "Ollama,\nllama.cpp and vLLM, and its client.\n\nCommands:\n",
                f);
    for (const struct cli_command *command = cli_commands; command->name != NULL; command++) {
        (void)fprintf(f, "  %-14s%s\n", command->name, command->meaning);
    }
    (void)fputs("\nmcpgate COMMAND --help shows the options of a command.\n\nExit status:\n", f);
    for (size_t i = 0; i < sizeof(exits) / sizeof(exits[0]); i++) {
        (void)fprintf(f, "  %-14d%s\n", exits[i].status, exits[i].meaning);
    }
}

/* Insertions, deletions, replacements and swaps of neighbours that make one name of the other. */
static size_t edit_distance(const char *a, const char *b)
{
    size_t rows[3][NAME_MAX_BYTES + 1];
    size_t a_len = strlen(a), b_len = strlen(b);

    for (size_t j = 0; j <= b_len; j++) {
        rows[0][j] = j;
    }
    for (size_t i = 1; i <= a_len; i++) {
        size_t *row = rows[i % 3];
        const size_t *above = rows[(i - 1) % 3], *two_above = rows[(i + 1) % 3];

        row[0] = i;
        for (size_t j = 1; j <= b_len; j++) {
            size_t best = above[j - 1] + (a[i - 1] != b[j - 1]);

            best = above[j] + 1 < best ? above[j] + 1 : best;
            best = row[j - 1] + 1 < best ? row[j - 1] + 1 : best;
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] &&
                two_above[j - 2] + 1 < best) {
                best = two_above[j - 2] + 1;
            }
            row[j] = best;
        }
    }
    return rows[a_len % 3][b_len];
}

/* A command that `name` may have meant, or NULL. */
static const char *suggest(const char *name)
{
    const char *best = NULL;
    size_t least = 3; /* farther is no typing error */

    if (strlen(name) > NAME_MAX_BYTES) {
        return NULL;
    }
    for (const struct cli_command *command = cli_commands; command->name != NULL; command++) {
        size_t distance = edit_distance(name, command->name);

        if (distance < least && distance < strlen(command->name)) {
            least = distance;
            best = command->name;
        }
    }
    return best;
}

static int say_unknown(const char *name)
{
    const char *guess = suggest(name);

    if (guess != NULL) {
        cli_error("no command '%s'; did you mean '%s'?", name, guess);
    } else {
        cli_error("no command '%s'; see mcpgate --help", name);
    }
    return CLI_EXIT_USAGE;
}

static int run_command(const struct cli_command *command, int argc, char **argv)
{
    char name[NAME_MAX_BYTES];
    int rc;

    (void)snprintf(name, sizeof(name), "mcpgate %s", command->name);
    argv[0] = name; /* what argp calls the program */
    argp_err_exit_status = CLI_EXIT_USAGE;
    (void)setenv("ARGP_HELP_FMT", "no-dup-args-note", 0); /* the note stays without memory */
    rc = command->run(argc, argv);
    if ((fflush(stdout) != 0 || ferror(stdout)) && rc == CLI_EXIT_OK) {
        cli_error("standard output: %s", strerror(errno));
        rc = CLI_EXIT_FAILED;
    }
    return rc;
}

int main(int argc, char **argv)
{
    const char *name = argc > 1 ? argv[1] : NULL;
    const struct cli_command *command;

    if (name == NULL) {
        print_help(stderr);
        return CLI_EXIT_USAGE;
    }
    if (strcmp(name, "--version") == 0 || strcmp(name, "-V") == 0) {
        (void)puts("mcpgate " MCPGATE_VERSION);
        return CLI_EXIT_OK;
    }
    if (strcmp(name, "--help") == 0 || strcmp(name, "-h") == 0 ||
        (strcmp(name, "help") == 0 && argc == 2)) {
        print_help(stdout);
        return CLI_EXIT_OK;
    }
    if (strcmp(name, "help") == 0) { /* mcpgate help COMMAND */
        static char help[] = "--help";

        name = argv[2];
        argv[2] = help;
    }
    command = cli_command_find(name);
    return command == NULL ? say_unknown(name) : run_command(command, argc - 1, argv + 1);
}
