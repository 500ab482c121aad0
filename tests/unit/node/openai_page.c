/* SPDX-License-Identifier: Apache-2.0 */
#include "openai_page.h"

#include <stdio.h>
#include <string.h>

#include "openai_help.h"

static struct page page;

/* Ollama v0.33's fields (its api/types.go), by section of the page. */

#define COMMON_REQUEST                                                                             \
    "model", "stream", "format", "keep_alive", "options", "think", "truncate", "shift",            \
        "_debug_render_only", "logprobs", "top_logprobs"
#define METRICS                                                                                    \
    "total_duration", "load_duration", "prompt_eval_count", "prompt_eval_duration", "eval_count",  \
        "eval_duration"
#define COMMON_RESPONSE                                                                            \
    "model", "remote_model", "remote_host", "created_at", "done", "done_reason", "_debug_info",    \
        "logprobs", METRICS
#define MODEL_DETAILS                                                                              \
    "models[].details.parent_model", "models[].details.format", "models[].details.family",         \
        "models[].details.families", "models[].details.parameter_size",                            \
        "models[].details.quantization_level", "models[].details.context_length",                  \
        "models[].details.embedding_length"

static const struct section {
    const char *name;
    const char *fields[40];
} sections[] = {
    {"generate: request",
     {COMMON_REQUEST, "prompt", "suffix", "system", "template", "context", "raw", "images"}},
    {"generate with raw: request",
     {COMMON_REQUEST, "prompt", "suffix", "system", "template", "context", "raw", "images"}},
    {"chat: request",
     {COMMON_REQUEST, "messages", "messages[].role", "messages[].content", "messages[].thinking",
      "messages[].images", "messages[].tool_calls", "messages[].tool_calls[].id",
      "messages[].tool_calls[].function.index", "messages[].tool_calls[].function.name",
      "messages[].tool_calls[].function.arguments", "messages[].tool_name",
      "messages[].tool_call_id", "tools"}},
    {"options of generate and chat",
     {"num_keep", "seed", "num_predict", "top_k", "top_p", "min_p", "typical_p", "repeat_last_n",
      "temperature", "repeat_penalty", "presence_penalty", "frequency_penalty", "stop", "num_ctx",
      "num_batch", "num_gpu", "main_gpu", "use_mmap", "num_thread", "draft_num_predict",
      /* of older versions */
      "mirostat", "mirostat_tau", "mirostat_eta", "tfs_z", "penalize_newline", "numa", "low_vram",
      "vocab_only", "use_mlock"}},
    {"generate: response", {COMMON_RESPONSE, "response", "thinking", "context", "tool_calls"}},
    {"generate with raw: response",
     {COMMON_RESPONSE, "response", "thinking", "context", "tool_calls"}},
    {"chat: response",
     {COMMON_RESPONSE, "message.role", "message.content", "message.thinking", "message.images",
      "message.tool_calls", "message.tool_calls[].id", "message.tool_calls[].function.index",
      "message.tool_calls[].function.name", "message.tool_calls[].function.arguments",
      "message.tool_name", "message.tool_call_id"}},
    {"embed: request", {"model", "input", "keep_alive", "truncate", "dimensions", "options"}},
    {"embed: response",
     {"model", "embeddings", "total_duration", "load_duration", "prompt_eval_count"}},
    {"embeddings: request", {"model", "prompt", "keep_alive", "options"}},
    {"embeddings: response", {"embedding"}},
    {"tags: response",
     {"models[].name", "models[].model", "models[].remote_model", "models[].remote_host",
      "models[].modified_at", "models[].size", "models[].digest", MODEL_DETAILS,
      "models[].capabilities"}},
    {"ps: response",
     {"models[].name", "models[].model", "models[].size", "models[].digest", "models[].details",
      "models[].expires_at", "models[].size_vram", "models[].context_length"}},
    {"show: request", {"model", "name", "system", "template", "verbose", "options"}},
    {"show: response",
     {"license", "modelfile", "parameters", "template", "system", "renderer", "parser", "details",
      "messages", "remote_model", "remote_host", "model_info", "projector_info", "tensors",
      "capabilities", "modified_at", "requires"}},
    {"version: response", {"version"}},
};

enum { SECTIONS = sizeof(sections) / sizeof(sections[0]) };

/* The cell's text without blanks and backticks around. */
static void read_cell(char *to, const char *from, size_t len)
{
    while (len > 0 && *from == ' ') {
        from++;
        len--;
    }
    while (len > 0 && from[len - 1] == ' ') {
        len--;
    }
    if (len >= 2 && from[0] == '`' && memchr(from + 1, '`', len - 2) == NULL) {
        from++;
        len -= 2;
    }
    assert_true(len < PAGE_TEXT);
    memcpy(to, from, len);
    to[len] = '\0';
}

static void read_row(const char *line, const char *section)
{
    struct page_row *r = &page.rows[page.count];

    assert_true(page.count < PAGE_ROWS_MAX);
    (void)snprintf(r->section, sizeof(r->section), "%s", section);
    for (size_t i = 0; i < PAGE_CELLS; i++) {
        const char *end = strchr(line + 1, '|');

        assert_non_null(end);
        read_cell(r->cells[i], line + 1, (size_t)(end - line - 1));
        line = end;
    }
    page.count++;
}

const struct page *page_read(void)
{
    char line[4096];
    char section[64] = "";
    FILE *file;

    if (page.count > 0) {
        return &page;
    }
    file = fopen("docs/openai-nodes.md", "r");
    assert_non_null(file);
    while (fgets(line, sizeof(line), file) != NULL) {
        line[strcspn(line, "\n")] = '\0';
        if (strncmp(line, "## ", 3) == 0) {
            (void)snprintf(section, sizeof(section), "%.63s", line + 3);
        } else if (strncmp(line, "| `", 3) == 0) {
            read_row(line, section);
        }
    }
    (void)fclose(file);
    return &page;
}

const char *const *page_sections(void)
{
    static const char *names[SECTIONS + 1];

    for (size_t i = 0; i < SECTIONS; i++) {
        names[i] = sections[i].name;
    }
    return names;
}

const char *const *page_fields(const char *section)
{
    for (size_t i = 0; i < SECTIONS; i++) {
        if (strcmp(sections[i].name, section) == 0) {
            return sections[i].fields;
        }
    }
    return NULL;
}
