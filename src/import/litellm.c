/* SPDX-License-Identifier: Apache-2.0 */
/* LiteLLM's proxy: model_list is deployments, of which those of Ollama and of servers that speak
 * OpenAI's API at an address of theirs are nodes of ours. */
#include <stdio.h>
#include <string.h>

#include "import/convert.h"

const struct import_why litellm_whys[] = {
    {"rpm", "there are no rate limits"},
    {"tpm", "there are no rate limits"},
    {"api_key", "taken from a variable; write it here as api_key, or into a file: api_key_file"},
    {"master_key", "taken from a variable; put the key into a file: key_file"},
    {"database_url", "keys stand in the file"},
    {"fallbacks", "a request is tried on other nodes that have the model, not with other models"},
    {"context_window_fallbacks", "there are no fallbacks to other models"},
    {"routing_strategy", "the first node that is up and has the model is asked"},
    {"model_group_alias", "clients ask for a model by the name its node gives it"},
    {"request_timeout", "an answer has no limit in all; see timeouts.first_byte, timeouts.idle"},
    {"timeout", "an answer has no limit in all; see timeouts.first_byte, timeouts.idle"},
    {"num_retries", "a request is tried on up to 3 nodes before its first byte"},
    {"drop_params", "requests are passed on as they are"},
    {"litellm_params", "only Ollama and servers with OpenAI's API at an api_base are nodes"},
    {"model_list", "only Ollama and servers with OpenAI's API at an api_base are nodes"},
    {NULL, NULL},
};

struct provider {
    const char *prefix;
    const char *kind;
    const char *api_base; /* where none is given; NULL: it is needed */
};

static const struct provider providers[] = {
    {"ollama/", "ollama", "http://127.0.0.1:11434"},
    {"ollama_chat/", "ollama", "http://127.0.0.1:11434"},
    {"openai/", "openai", NULL},
    {"text-completion-openai/", "openai", NULL},
    {"custom_openai/", "openai", NULL},
    {"hosted_vllm/", "openai", NULL},
    {"vllm/", "openai", NULL},
    {"llamafile/", "openai", "http://127.0.0.1:8080"},
    {"lm_studio/", "openai", NULL},
    {"litellm_proxy/", "openai", NULL},
};

static const struct provider *provider_of(const char *model)
{
    for (size_t i = 0; i < sizeof(providers) / sizeof(providers[0]); i++) {
        if (strncmp(model, providers[i].prefix, strlen(providers[i].prefix)) == 0) {
            return &providers[i];
        }
    }
    return NULL;
}

/* LiteLLM's own name for a model is one that only it knows. */
static void note_name(struct plan *p, struct tree *name, const char *model)
{
    char why[256];

    if (name == NULL || name->kind != TREE_TEXT) {
        return;
    }
    if (strcmp(name->text, model) != 0) {
        (void)snprintf(why, sizeof(why), "clients ask for it as the node calls it: %.180s", model);
        plan_lose(p, "model_name", name, why);
    }
    name->used = true;
}

static void add_deployment(struct plan *p, struct tree *t)
{
    const struct tree *params = tree_get(t, "litellm_params");
    struct tree *model = tree_get(params, "model");
    struct tree *key = tree_get(params, "api_key");
    const struct provider *provider =
        model == NULL || model->kind != TREE_TEXT ? NULL : provider_of(model->text);
    struct tree *base = tree_get(params, "api_base");
    struct plan_node n = {0};

    if (provider == NULL || (base == NULL && provider->api_base == NULL)) {
        return; /* told as unused */
    }
    n.url = base == NULL ? provider->api_base : tree_take(base);
    n.kind = provider->kind;
    if (key != NULL && key->kind == TREE_TEXT && strncmp(key->text, "os.environ/", 11) != 0) {
        n.api_key = tree_take(key);
    }
    model->used = true;
    if (n.url != NULL && plan_add_node(p, base == NULL ? model : base, &n)) {
        note_name(p, tree_get(t, "model_name"), model->text + strlen(provider->prefix));
    }
}

void litellm_convert(const struct tree *root, struct plan *p)
{
    const struct tree *list = tree_get(root, "model_list");
    struct tree *master = tree_get(root, "general_settings.master_key");

    for (size_t i = 0; list != NULL && i < list->count; i++) {
        add_deployment(p, list->items[i]);
    }
    if (master != NULL && master->kind == TREE_TEXT &&
        strncmp(master->text, "os.environ/", 11) != 0) {
        (void)plan_add_key(p, master, "litellm", tree_take(master));
    }
}
