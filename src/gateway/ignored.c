/* SPDX-License-Identifier: Apache-2.0 */
/* As of Ollama's structures for these requests (openai/openai.go, openai/responses.go,
 * anthropic/anthropic.go), from 0.17.4 to 0.33. */
#include "gateway/ignored.h"

#include "base/json_usual.h"

enum { NAMES_MAX = 20 };

static const struct {
    struct slice path;
    struct slice names[NAMES_MAX]; /* ended by an empty one */
} apis[] = {
    {SLICE("/v1/chat/completions"),
     {SLICE("tool_choice"), SLICE("parallel_tool_calls"), SLICE("n"), SLICE("logit_bias"),
      SLICE("user"), SLICE("max_completion_tokens"), SLICE("keep_alive"), SLICE("num_ctx"),
      SLICE("options"), SLICE("top_k"), SLICE("min_p"), SLICE("functions"), SLICE("function_call"),
      SLICE("metadata"), SLICE("store"), SLICE("service_tier"), SLICE("prediction"),
      SLICE("modalities")}},
    {SLICE("/v1/completions"),
     {SLICE("n"), SLICE("best_of"), SLICE("echo"), SLICE("logit_bias"), SLICE("user"),
      SLICE("keep_alive"), SLICE("num_ctx"), SLICE("options"), SLICE("top_k"), SLICE("min_p")}},
    {SLICE("/v1/embeddings"),
     {SLICE("user"), SLICE("keep_alive"), SLICE("num_ctx"), SLICE("options"), SLICE("truncate")}},
    {SLICE("/v1/responses"),
     {SLICE("tool_choice"), SLICE("parallel_tool_calls"), SLICE("max_tool_calls"),
      SLICE("previous_response_id"), SLICE("store"), SLICE("user"), SLICE("metadata"),
      SLICE("include"), SLICE("service_tier"), SLICE("top_logprobs"), SLICE("keep_alive"),
      SLICE("num_ctx"), SLICE("options")}},
    {SLICE("/v1/messages"),
     {SLICE("tool_choice"), SLICE("metadata"), SLICE("service_tier"), SLICE("keep_alive"),
      SLICE("num_ctx"), SLICE("options")}},
};

static const struct slice *names_of(struct slice path)
{
    for (size_t i = 0; i < sizeof(apis) / sizeof(apis[0]); i++) {
        if (slice_eq(apis[i].path, path)) {
            return apis[i].names;
        }
    }
    return NULL;
}

static bool says_nothing(const struct json_member *m)
{
    return m->kind == JSON_NULL ||
           (slice_eq(m->key, SLICE("n")) && slice_eq(m->value, SLICE("1"))) ||
           (slice_eq(m->key, SLICE("tool_choice")) && slice_eq(m->value, SLICE("\"auto\"")));
}

bool ignored_names(struct slice path, struct slice body, struct buf *out)
{
    const struct slice *names = names_of(path);
    struct json_member m;
    struct json_walk w;

    if (names == NULL || json_walk_begin(&w, body, JSON_OBJECT) != JSON_OK) {
        return true;
    }
    while (json_walk_quick(&w, &m) == JSON_OK) {
        for (const struct slice *name = names; name->len > 0; name++) {
            if (slice_eq(*name, m.key) && !says_nothing(&m)) {
                (void)(buf_len(out) > 0 && buf_append_str(out, ", "));
                (void)buf_append(out, m.key);
            }
        }
    }
    return !buf_failed(out);
}
