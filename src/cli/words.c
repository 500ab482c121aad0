/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/words.h"

#include <stdlib.h>
#include <string.h>

#include "cli/text.h"

void cli_words_add(struct cli_words *words, struct slice text)
{
    char **texts = realloc(words->texts, (words->count + 1) * sizeof(*texts));

    if (texts == NULL) {
        cli_no_memory();
    }
    words->texts = texts;
    texts[words->count] = slice_dup(text);
    if (texts[words->count] == NULL) {
        cli_no_memory();
    }
    words->count++;
}

static int compare(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

void cli_words_sort(struct cli_words *words)
{
    size_t kept = 0;

    if (words->count == 0) {
        return;
    }
    qsort(words->texts, words->count, sizeof(*words->texts), compare);
    for (size_t i = 1; i < words->count; i++) {
        if (strcmp(words->texts[i], words->texts[kept]) == 0) {
            free(words->texts[i]);
        } else {
            words->texts[++kept] = words->texts[i];
        }
    }
    words->count = kept + 1;
}

void cli_words_keep(struct cli_words *words, struct slice prefix)
{
    size_t kept = 0;

    for (size_t i = 0; i < words->count; i++) {
        if (slice_starts(slice_str(words->texts[i]), prefix)) {
            words->texts[kept++] = words->texts[i];
        } else {
            free(words->texts[i]);
        }
    }
    words->count = kept;
}

size_t cli_words_common(const struct cli_words *words)
{
    size_t len = words->count == 0 ? 0 : strlen(words->texts[0]);

    for (size_t i = 1; i < words->count; i++) {
        size_t same = 0;

        while (same < len && words->texts[i][same] == words->texts[0][same]) {
            same++;
        }
        len = same;
    }
    return len;
}

void cli_words_fini(struct cli_words *words)
{
    for (size_t i = 0; i < words->count; i++) {
        free(words->texts[i]);
    }
    free(words->texts);
    *words = (struct cli_words){0};
}
