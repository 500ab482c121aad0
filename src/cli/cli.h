/* SPDX-License-Identifier: Apache-2.0 */
/* The commands of mcpgate and what they share. One thread; a command runs once in a process. */
#ifndef MCP_CLI_CLI_H
#define MCP_CLI_CLI_H

#include <argp.h>
#include <stdbool.h>

enum cli_exit {
#define CLI_EXIT(name, number, meaning) CLI_EXIT_##name = number,
#include "cli/exits.def"
#undef CLI_EXIT
};

/* Each takes its own arguments, argv[0] being "mcpgate NAME", and returns an exit status. Its
 * parser is known by name, as help, completion and the manual page are made of its tables. */
#define CLI_COMMAND(function, name, meaning)                                                       \
    int function(int argc, char **argv);                                                           \
    extern const struct argp function##_argp;
#include "cli/commands.def"
#undef CLI_COMMAND

/* --host, --key and --json of all commands that talk to a gateway. */
struct cli_common {
    const char *host;
    const char *host_from; /* the option or variable that gave it */
    const char *key;       /* NULL: none */
    bool json;
    bool verbose; /* of those commands that have it: says what was agreed on, and where it stands */
};

/* As a child of a command's parser, whose input is then a struct cli_common; it also sets the
 * defaults, from MCPGATE_HOST and MCPGATE_KEY. */
extern const struct argp cli_common_argp;
/* That child alone, and the parser of a command that has no arguments of its own. */
extern const struct argp_child cli_common_children[];
error_t cli_common_parse(int key, char *arg, struct argp_state *state);

/* argp_parse that ends the program where it fails. What is wrong with a command line is one line on
 * standard error: the C library's own, or that of cli_usage. */
void cli_parse(const struct argp *argp, int argc, char **argv, void *input);
/* What every parser has: -h beside argp's --help, and that argp itself stays silent about errors.
 * They are those of cli_common_argp and of cli_admin_children too. */
extern const struct argp_child cli_help_children[];
/* Ends the program: what was expected, and where the options are listed. */
void cli_usage(const struct argp_state *state, const char *fmt, ...)
    __attribute__((noreturn, format(printf, 2, 3)));

/* Reads a number of at most `most`; ends the program with a usage error for anything else. */
unsigned long cli_parse_number(struct argp_state *state, const char *option, const char *text,
                               unsigned long most);

#endif
