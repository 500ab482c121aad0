/* SPDX-License-Identifier: Apache-2.0 */
/* libFuzzer target: any text as another gateway's configuration; the first byte says whose, or that
 * it is to be found out. It is refused with a line, or what comes of it is a configuration of ours:
 * YAML with sections of ours alone. */
#include <stdint.h>
#include <string.h>

#include "base/check.h"
#include "import/import.h"
#include "import/tree.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static bool is_section(const char *key)
{
    static const char *const ours[] = {"nodes", "keys", "http", "limits", "timeouts", "log"};

    for (size_t i = 0; i < sizeof(ours) / sizeof(ours[0]); i++) {
        if (strcmp(ours[i], key) == 0) {
            return true;
        }
    }
    return false;
}

/* An empty one is all comments, which is no mapping. */
static void check_output(const struct buf *out)
{
    struct err e = {0};
    struct tree *t;

    ASSERT(memchr(buf_slice(out).ptr, '\0', buf_len(out)) == NULL);
    t = tree_read_yaml(buf_slice(out), &e);
    ASSERT(t != NULL || strcmp(e.text, "line 1: expected a mapping (key: value)") == 0);
    for (size_t i = 0; t != NULL && i < t->count; i++) {
        ASSERT(is_section(t->items[i]->key));
        for (size_t k = 0; k < i; k++) {
            ASSERT(strcmp(t->items[k]->key, t->items[i]->key) != 0);
        }
    }
    tree_free(&t);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    enum import_kind kind = size == 0 ? IMPORT_UNKNOWN : data[0] % IMPORT_KINDS;
    struct slice text = size == 0 ? SLICE("") : slice_of(data + 1, size - 1);
    struct buf out = {0};
    struct err e = {0};
    size_t lost = 0;

    if (import_convert(text, "a \"file\"\n", &kind, &out, &lost, &e) == MCP_OK) {
        ASSERT(kind != IMPORT_UNKNOWN);
        check_output(&out);
    } else {
        ASSERT(strncmp(e.text, "line ", 5) == 0 || e.code == MCP_ENOMEM);
    }
    buf_fini(&out);
    return 0;
}
