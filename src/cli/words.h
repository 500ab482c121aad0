/* SPDX-License-Identifier: Apache-2.0 */
/* A growing list of strings that it owns. Memory that is out ends the program. One thread. */
#ifndef MCP_CLI_WORDS_H
#define MCP_CLI_WORDS_H

#include <stddef.h>

#include "base/slice.h"

struct cli_words {
    char **texts;
    size_t count;
};

void cli_words_add(struct cli_words *words, struct slice text);
/* In the order of their bytes, each once. */
void cli_words_sort(struct cli_words *words);
/* Those that begin with `prefix` stay. */
void cli_words_keep(struct cli_words *words, struct slice prefix);
/* How many bytes all have in common at their beginning. */
size_t cli_words_common(const struct cli_words *words);
void cli_words_fini(struct cli_words *words);

#endif
