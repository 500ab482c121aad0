/* SPDX-License-Identifier: Apache-2.0 */
#include "gateway/pins.h"

#include "base/json_scan.h"
#include "gateway/exchange.h"
#include "gateway/sub.h"

enum { PIN_COUNT = 6 };

struct pins {
    const char *name[PIN_COUNT];
    const char *value[PIN_COUNT]; /* NULL: not pinned */
};

static struct pins pins_of(const struct config_pin *pin)
{
    return (struct pins){
        .name = {"num_ctx", "num_batch", "num_gpu", "main_gpu", "use_mmap", "num_thread"},
        .value = {pin->num_ctx, pin->num_batch, pin->num_gpu, pin->main_gpu, pin->use_mmap,
                  pin->num_thread},
    };
}

static bool is_pinned(const struct pins *p, const struct json_member *m)
{
    for (size_t i = 0; i < PIN_COUNT; i++) {
        if (p->value[i] != NULL && json_key_is(m, slice_str(p->name[i]))) {
            return true;
        }
    }
    return false;
}

/* `given` is an object or empty. */
static bool write_options(const struct pins *p, struct slice given, struct buf *out)
{
    struct json_member m;
    struct json_walk w;
    const char *comma = "{";

    for (size_t i = 0; i < PIN_COUNT; i++) {
        if (p->value[i] != NULL) {
            buf_printf(out, "%s\"%s\":%s", comma, p->name[i], p->value[i]);
            comma = ",";
        }
    }
    if (given.len > 0 && json_walk_begin(&w, given, JSON_OBJECT) == JSON_OK) {
        while (json_walk_next(&w, &m) == JSON_OK) {
            if (!is_pinned(p, &m)) {
                buf_append_str(out, comma);
                buf_append(out, slice_of(given.ptr + m.start, m.end - m.start));
                comma = ",";
            }
        }
    }
    buf_append_byte(out, '}');
    return !buf_failed(out);
}

static bool may_be_pinned(const struct exchange *x)
{
    return x->sub->config->model_count > 0 && x->body_is_json && op_is_inference(x->op) &&
           (x->native || x->native_only);
}

int pins_options(struct exchange *x, struct slice *options, bool *pinned)
{
    const struct config_model *model = NULL;
    struct exchange_extra *extra;
    struct pins pins;

    *pinned = false;
    *options = buf_slice(&x->inherited_options);
    if (x->body_is_json && request_has(&x->request, REQUEST_OPTIONS) &&
        x->request.members[REQUEST_OPTIONS].kind != JSON_NULL) {
        *options = x->request.members[REQUEST_OPTIONS].value;
        if (x->request.members[REQUEST_OPTIONS].kind != JSON_OBJECT) {
            return MCP_OK; /* the node says what is wrong with it */
        }
    }
    if (may_be_pinned(x)) {
        model = config_model_find(x->sub->config, buf_slice(&x->model));
    }
    if (model == NULL) {
        return MCP_OK;
    }
    pins = pins_of(&model->pin);
    extra = exchange_extra(x);
    if (extra == NULL) {
        return MCP_ENOMEM;
    }
    buf_clear(&extra->pinned_options);
    if (!write_options(&pins, *options, &extra->pinned_options)) {
        return MCP_ENOMEM;
    }
    *options = buf_slice(&extra->pinned_options);
    *pinned = true;
    return MCP_OK;
}

int pins_apply(struct exchange *x, const struct node *n, struct request_edits *edits)
{
    struct slice options;
    bool pinned = false;
    int rv = n->kind == NODE_KIND_OLLAMA ? pins_options(x, &options, &pinned) : MCP_OK;

    if (pinned) {
        edits->options = options;
        edits->options_replace = true;
    }
    return rv;
}
