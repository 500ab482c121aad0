/* SPDX-License-Identifier: Apache-2.0 */
/* routes and models of the configuration: read, compared, looked up. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "gateway/config_load.h"
#include "sched/route.h"

enum { ROUTE_NAME_MAX = 100 };

static int check_name(const struct config_load *l, const char *key, const char *name)
{
    const char *c = name;

    while (*c > ' ' && *c <= '~') {
        c++;
    }
    if (*c != '\0' || c == name || c - name >= ROUTE_NAME_MAX) {
        return config_fail(l, key,
                           "expected a name of less than %d printable ASCII characters "
                           "without blanks",
                           ROUTE_NAME_MAX);
    }
    return MCP_OK;
}

/* --- routes ----------------------------------------------------------------------------------- */

static int add_arm(struct config_load *l, struct config_route *route,
                   const struct config_yaml_entry *from, const char *prefix)
{
    struct config_arm *arm = &route->arms[route->arm_count++];

    if (config_set_defaults(l, "arms", arm) != MCP_OK ||
        config_set_values(l, "arms", from->value, arm, prefix) != MCP_OK) {
        return MCP_EARGUMENT;
    }
    if (arm->model == NULL) {
        return config_fail(l, prefix, "the key 'model' is missing");
    }
    if (route->arm_count == 1 && (arm->shadow > 0 || arm->weight == 0)) {
        return config_fail(l, prefix, "the first arm needs a weight, and is no shadow");
    }
    for (struct config_arm *other = route->arms; other < arm; other++) {
        if (strcmp(other->model, arm->model) == 0) {
            return config_fail(l, prefix, "a second arm with the model '%s'", arm->model);
        }
    }
    return MCP_OK;
}

static int add_arms(struct config_load *l, struct config_route *route,
                    const struct config_yaml_entry *from, const char *prefix)
{
    if (from->arm_count == 0 || from->arm_count > MODEL_ROUTE_ARMS_MAX) {
        return config_fail(l, prefix, "expected arms, 1 to %d", MODEL_ROUTE_ARMS_MAX);
    }
    route->arms = config_alloc(l, from->arm_count, sizeof(*route->arms));
    if (route->arms == NULL) {
        return MCP_ENOMEM;
    }
    for (unsigned i = 0; i < from->arm_count; i++) {
        char key[CONFIG_KEY_MAX];

        (void)snprintf(key, sizeof(key), "%.120s.arms[%u]", prefix, i);
        if (add_arm(l, route, &from->arms[i], key) != MCP_OK) {
            return MCP_EARGUMENT;
        }
    }
    return MCP_OK;
}

static int add_fallback(struct config_load *l, struct config_route *route,
                        const struct config_yaml_entry *from, const char *prefix)
{
    char *const *names = config_yaml_list(from, CONFIG_ITEM_ROUTE_FALLBACK);
    size_t count = from->count[CONFIG_ITEM_ROUTE_FALLBACK];

    if (count == 0) {
        return MCP_OK;
    }
    route->fallback = config_alloc(l, count, sizeof(char *));
    for (size_t i = 0; route->fallback != NULL && i < count; i++) {
        char key[CONFIG_KEY_MAX];

        (void)snprintf(key, sizeof(key), "%.120s.fallback[%zu]", prefix, i);
        if (check_name(l, key, names[i]) != MCP_OK) {
            return MCP_EARGUMENT;
        }
        route->fallback[i] = config_copy(l, names[i]);
        if (route->fallback[i] == NULL) {
            return MCP_ENOMEM;
        }
        route->fallback_count++;
    }
    return route->fallback == NULL ? MCP_ENOMEM : MCP_OK;
}

static int add_route(struct config_load *l, const char *name, const struct config_yaml_entry *from)
{
    struct config_route *route = &l->c->routes[l->c->route_count++];
    char prefix[CONFIG_KEY_MAX];

    (void)snprintf(prefix, sizeof(prefix), "routes.%.100s", name);
    if (check_name(l, prefix, name) != MCP_OK ||
        config_set_defaults(l, "routes", route) != MCP_OK ||
        config_set_values(l, "routes", from->value, route, prefix) != MCP_OK ||
        add_arms(l, route, from, prefix) != MCP_OK ||
        add_fallback(l, route, from, prefix) != MCP_OK) {
        return MCP_EARGUMENT;
    }
    route->name = config_copy(l, name);
    return route->name == NULL ? MCP_ENOMEM : MCP_OK;
}

static int add_model(struct config_load *l, const char *name, const struct config_yaml_entry *from)
{
    struct config_model *model = &l->c->models[l->c->model_count++];
    char prefix[CONFIG_KEY_MAX];

    (void)snprintf(prefix, sizeof(prefix), "models.%.100s", name);
    if (check_name(l, prefix, name) != MCP_OK) {
        return MCP_EARGUMENT;
    }
    model->name = config_copy(l, name);
    if (model->name == NULL) {
        return MCP_ENOMEM;
    }
    (void)snprintf(prefix, sizeof(prefix), "models.%.100s.pin", name);
    return config_set_values(l, "pin", from->value, &model->pin, prefix);
}

int config_add_routes(struct config_load *l, const struct config_yaml_values *values)
{
    const char *const *names;
    size_t count = config_yaml_names(l->yaml, "routes", &names);
    int rv = MCP_OK;

    if (count > 0) {
        l->c->routes = config_alloc(l, count, sizeof(*l->c->routes));
        rv = l->c->routes == NULL ? MCP_ENOMEM : MCP_OK;
    }
    for (size_t i = 0; i < count && rv == MCP_OK; i++) {
        rv = add_route(l, names[i], &values->routes[i]);
    }
    count = config_yaml_names(l->yaml, "models", &names);
    if (count > 0 && rv == MCP_OK) {
        l->c->models = config_alloc(l, count, sizeof(*l->c->models));
        rv = l->c->models == NULL ? MCP_ENOMEM : MCP_OK;
    }
    for (size_t i = 0; i < count && rv == MCP_OK; i++) {
        rv = add_model(l, names[i], &values->models[i]);
    }
    return rv;
}

void config_free_routes(struct config *c)
{
    for (size_t i = 0; i < c->route_count; i++) {
        struct config_route *route = &c->routes[i];

        for (size_t k = 0; k < route->arm_count; k++) {
            free(route->arms[k].model);
        }
        for (size_t k = 0; k < route->fallback_count; k++) {
            free(route->fallback[k]);
        }
        free(route->arms);
        free(route->fallback);
        free(route->name);
    }
    for (size_t i = 0; i < c->model_count; i++) {
        struct config_pin *pin = &c->models[i].pin;

        free(pin->num_ctx);
        free(pin->num_batch);
        free(pin->num_gpu);
        free(pin->main_gpu);
        free(pin->use_mmap);
        free(pin->num_thread);
        free(c->models[i].name);
    }
    free(c->routes);
    free(c->models);
}

/* --- looked up -------------------------------------------------------------------------------- */

/* Ollama's clients write a name with the tag or without. */
static bool is_called(const char *known, struct slice name)
{
    static const struct slice latest = SLICE(":latest");
    struct slice text = slice_str(known);

    return slice_eq(text, name) ||
           (slice_starts(name, text) && slice_eq(slice_skip(name, text.len), latest)) ||
           (slice_starts(text, name) && slice_eq(slice_skip(text, name.len), latest));
}

const struct config_route *config_route_find(const struct config *c, struct slice name)
{
    for (size_t i = 0; i < c->route_count; i++) {
        if (is_called(c->routes[i].name, name)) {
            return &c->routes[i];
        }
    }
    return NULL;
}

const struct config_model *config_model_find(const struct config *c, struct slice name)
{
    for (size_t i = 0; i < c->model_count; i++) {
        if (is_called(c->models[i].name, name)) {
            return &c->models[i];
        }
    }
    return NULL;
}

/* --- compared --------------------------------------------------------------------------------- */

static bool same_text(const char *a, const char *b)
{
    return a == NULL || b == NULL ? a == b : strcmp(a, b) == 0;
}

static bool same_route(const struct config_route *a, const struct config_route *b)
{
    if (!same_text(a->name, b->name) || a->sticky != b->sticky || a->window_ms != b->window_ms ||
        a->min_requests != b->min_requests || a->arm_count != b->arm_count ||
        a->fallback_count != b->fallback_count) {
        return false;
    }
    for (size_t i = 0; i < a->arm_count; i++) {
        if (!same_text(a->arms[i].model, b->arms[i].model) ||
            a->arms[i].weight != b->arms[i].weight || a->arms[i].shadow != b->arms[i].shadow) {
            return false;
        }
    }
    for (size_t i = 0; i < a->fallback_count; i++) {
        if (!same_text(a->fallback[i], b->fallback[i])) {
            return false;
        }
    }
    return true;
}

bool config_same_routes(const struct config *a, const struct config *b)
{
    for (size_t i = 0; i < a->route_count && i < b->route_count; i++) {
        if (!same_route(&a->routes[i], &b->routes[i])) {
            return false;
        }
    }
    return a->route_count == b->route_count;
}

static bool same_pin(const struct config_pin *a, const struct config_pin *b)
{
    return same_text(a->num_ctx, b->num_ctx) && same_text(a->num_batch, b->num_batch) &&
           same_text(a->num_gpu, b->num_gpu) && same_text(a->main_gpu, b->main_gpu) &&
           same_text(a->use_mmap, b->use_mmap) && same_text(a->num_thread, b->num_thread);
}

bool config_same_models(const struct config *a, const struct config *b)
{
    for (size_t i = 0; i < a->model_count && i < b->model_count; i++) {
        if (!same_text(a->models[i].name, b->models[i].name) ||
            !same_pin(&a->models[i].pin, &b->models[i].pin)) {
            return false;
        }
    }
    return a->model_count == b->model_count;
}
