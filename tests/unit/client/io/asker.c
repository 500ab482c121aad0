/* SPDX-License-Identifier: Apache-2.0 */
#include "asker.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "base/slice.h"

struct mcp_client *client_offering(unsigned features, const char *address, int retries,
                                   const char *key)
{
    struct mcp_options *options = mcp_options_new();
    struct mcp_client *c;

    assert_non_null(options);
    assert_int_equal(mcp_options_set_address(options, address), 0);
    if (retries >= 0) {
        assert_int_equal(mcp_options_set_retries(options, (unsigned)retries), 0);
    }
    assert_int_equal(mcp_options_set_auth(options, key), 0);
    assert_int_equal(mcp_options_set_features(options, features), 0);
    c = mcp_client_new(options);
    mcp_options_free(&options);
    assert_null(options);
    assert_non_null(c);
    assert_string_equal(mcp_client_address(c), address);
    return c;
}

int request(struct mcp_client *c, uint32_t session, const char *json)
{
    return mcp_client_request(c, session, json, strlen(json));
}

const struct mcp_part *receive(struct mcp_client *c)
{
    const struct mcp_part *part = NULL;

    assert_int_equal(mcp_client_receive(c, PATIENCE_MS, &part), 0);
    return part;
}

void expect_part(struct mcp_client *c, uint32_t session, const char *data, bool last, int error)
{
    const struct mcp_part *part = receive(c);
    const char *got;
    size_t len;

    assert_int_equal(mcp_part_session(part), session);
    got = mcp_part_data(part, &len);
    if (data != NULL && !slice_eq(slice_of(got, len), slice_str(data))) {
        fail_msg("part: %.*s", (int)len, got);
    }
    assert_int_equal(mcp_part_last(part), last);
    assert_int_equal(mcp_part_error(part), error);
    if (error != 0) {
        assert_string_equal(mcp_client_error(c), mcp_part_error_text(part));
    }
}
