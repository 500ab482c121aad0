/* SPDX-License-Identifier: Apache-2.0 */
#include "client/io/options.h"

#include <stdlib.h>

#include "base/json_scan.h"
#include "wire/hello.h"

enum { TIMEOUT_MS_DEFAULT = 5000, RETRIES_DEFAULT = 3, RETRIES_MAX = 30 };

enum { FEATURES_ALL = MCP_FEATURES_DEFAULT | MCP_FEATURE_ACK };

/* The public header has numbers of its own, as it shows nothing of ours. */
#define WIRE_FEATURE(name, text, bit)                                                              \
    _Static_assert((int)MCP_FEATURE_##name == (int)WIRE_SINCE_##name, text);
#include "wire/feature.def"
#undef WIRE_FEATURE

static const char ADDRESS_DEFAULT[] = "127.0.0.1:8080";

void client_options_init(struct mcp_options *o)
{
    *o = (struct mcp_options){
        .timeout_ms = TIMEOUT_MS_DEFAULT,
        .retries = RETRIES_DEFAULT,
        .features = MCP_FEATURES_DEFAULT,
        .window_bytes = WIRE_WINDOW_BYTES,
        .heartbeat_ms = WIRE_HEARTBEAT_MS,
    };
    (void)client_address_parse(&o->address, ADDRESS_DEFAULT, NULL); /* a constant that parses */
}

void client_options_fini(struct mcp_options *o)
{
    buf_fini(&o->auth_json);
}

bool client_options_copy(struct mcp_options *to, const struct mcp_options *from)
{
    struct buf auth_json = {0};

    if (buf_len(&from->auth_json) > 0 && !buf_append(&auth_json, buf_slice(&from->auth_json))) {
        return false;
    }
    buf_fini(&to->auth_json);
    *to = *from;
    to->auth_json = auth_json;
    return true;
}

struct mcp_options *mcp_options_new(void)
{
    struct mcp_options *o = malloc(sizeof(*o));

    if (o != NULL) {
        client_options_init(o);
    }
    return o;
}

void mcp_options_free(struct mcp_options **options)
{
    if (*options != NULL) {
        client_options_fini(*options);
        free(*options);
        *options = NULL;
    }
}

int mcp_options_set_address(struct mcp_options *options, const char *address)
{
    return address == NULL ? MCP_EARGUMENT : client_address_parse(&options->address, address, NULL);
}

int mcp_options_set_timeout_ms(struct mcp_options *options, unsigned timeout_ms)
{
    if (timeout_ms == 0) {
        return MCP_EARGUMENT;
    }
    options->timeout_ms = timeout_ms;
    return 0;
}

int mcp_options_set_retries(struct mcp_options *options, unsigned retries)
{
    if (retries > RETRIES_MAX) {
        return MCP_EARGUMENT;
    }
    options->retries = retries;
    return 0;
}

int mcp_options_set_features(struct mcp_options *options, unsigned features)
{
    if ((features & ~(unsigned)FEATURES_ALL) != 0) {
        return MCP_EARGUMENT;
    }
    options->features = features;
    return 0;
}

int mcp_options_set_window_bytes(struct mcp_options *options, uint32_t window_bytes)
{
    if (window_bytes == 0 || window_bytes > WIRE_WINDOW_BYTES_MAX) {
        return MCP_EARGUMENT;
    }
    options->window_bytes = window_bytes;
    return 0;
}

int mcp_options_set_heartbeat_ms(struct mcp_options *options, uint32_t heartbeat_ms)
{
    if (heartbeat_ms == 0) {
        return MCP_EARGUMENT;
    }
    options->heartbeat_ms = heartbeat_ms;
    return 0;
}

int mcp_options_set_auth(struct mcp_options *options, const char *key)
{
    struct slice text = slice_str(key);
    struct buf json = {0}, back = {0};
    int rv = 0;

    if (key == NULL) {
        buf_release(&options->auth_json);
        return 0;
    }
    /* Writing replaces what is not UTF-8, so such a key does not come back. */
    if (!json_append_string(&json, text) || !json_unescape(buf_slice(&json), &back)) {
        rv = MCP_ENOMEM;
    } else if (!slice_eq(buf_slice(&back), text)) {
        rv = MCP_EARGUMENT;
    } else {
        buf_move(&options->auth_json, &json);
    }
    buf_fini(&json);
    buf_fini(&back);
    return rv;
}
