/* SPDX-License-Identifier: Apache-2.0 */
#include "client/io/options.h"

#include <stdlib.h>

#include "base/json_scan.h"

enum { TIMEOUT_MS_DEFAULT = 5000, RETRIES_DEFAULT = 3, RETRIES_MAX = 30 };

static const char ADDRESS_DEFAULT[] = "127.0.0.1:8080";

void client_options_init(struct mcp_options *o)
{
    *o = (struct mcp_options){.timeout_ms = TIMEOUT_MS_DEFAULT, .retries = RETRIES_DEFAULT};
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
