/* SPDX-License-Identifier: Apache-2.0 */
/* The tables of docs/openai-nodes.md, and the fields Ollama has. */
#ifndef MCP_TESTS_OPENAI_PAGE_H
#define MCP_TESTS_OPENAI_PAGE_H

#include <stdbool.h>
#include <stddef.h>

enum { PAGE_CELLS = 5, PAGE_TEXT = 1024, PAGE_ROWS_MAX = 400 };

struct page_row {
    char section[64];
    char cells[PAGE_CELLS][PAGE_TEXT]; /* without the backticks around */
};

#define FIELD(r) ((r)->cells[0])
#define HOW(r) ((r)->cells[1])
#define NODE(r) ((r)->cells[2])
#define SAMPLE(r) ((r)->cells[3])
#define WANT(r) ((r)->cells[4]) /* sent or given */

struct page {
    struct page_row rows[PAGE_ROWS_MAX];
    size_t count;
};

/* Read once, kept for the life of the process. */
const struct page *page_read(void);

/* NULL-terminated names of the sections, and of the fields of one (NULL: no such section). */
const char *const *page_sections(void);
const char *const *page_fields(const char *section);

#endif
