/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/commands.h"

#include <string.h>

const struct cli_command cli_commands[] = {
#define CLI_COMMAND(function, name, meaning) {function, &function##_argp, name, meaning},
#include "cli/commands.def"
#undef CLI_COMMAND
    {0},
};

const struct cli_command *cli_command_find(const char *name)
{
    for (const struct cli_command *command = cli_commands; command->name != NULL; command++) {
        if (strcmp(command->name, name) == 0) {
            return command;
        }
    }
    return NULL;
}
