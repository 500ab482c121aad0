/* SPDX-License-Identifier: Apache-2.0 */
/* Which nodes there are and what people want of them. No node is asked for anything here. */
#include "node_fixture.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "alloc_fault.h"
#include "gateway/fleet.h"
#include "mcp/error.h"

static char folder[64];
static struct config *config;
static struct fleet *fleet;
static unsigned looked;

/* Always two nodes, on a helper thread. */
static int two(const struct dns_question *q, struct dns_found *out, struct err *e)
{
    char text[ADDR_TEXT_MAX];

    *out = (struct dns_found){.ttl_s = UINT32_MAX, .at = calloc(2, sizeof(*out->at))};
    if (out->at == NULL) {
        return err_set(e, MCP_ENOMEM, "out of memory");
    }
    for (; out->count < 2; out->count++) {
        (void)snprintf(text, sizeof(text), "10.0.0.%zu:%u", out->count + 1, q->port);
        (void)addr_parse(&out->at[out->count], slice_str(text), NULL);
    }
    return MCP_OK;
}

static void on_looked(void *owner)
{
    (void)owner;
    looked++;
}

static struct config *config_with(const char *const *urls, size_t count)
{
    struct err e = {0};
    struct config_args args = {.node_urls = urls, .node_count = count};
    struct config *c = config_load(&args, &e);

    assert_non_null(c);
    c->state_dir = strdup(folder);
    assert_non_null(c->state_dir);
    return c;
}

static void fleet_make(void)
{
    const struct fleet_options options = {.nodes = nodes, .ask = two, .looked = on_looked};
    struct err e = {0};

    fleet = fleet_new(&options, config, &e);
    assert_non_null(fleet);
    assert_int_equal(fleet_use(fleet, config, &e), MCP_OK);
}

static int setup(void **state)
{
    static const char *const urls[] = {"http://one:1", "http://two:2"};
    int rv = node_setup(state);

    looked = 0;
    (void)snprintf(folder, sizeof(folder), "/tmp/mcpgate-fleet-XXXXXX");
    if (mkdtemp(folder) == NULL) {
        return -1;
    }
    config = config_with(urls, 2);
    fleet_make();
    return rv;
}

static int teardown(void **state)
{
    char path[128];

    (void)snprintf(path, sizeof(path), "%s/nodes.json", folder);
    fleet_free(&fleet);
    config_unref(&config);
    (void)unlink(path);
    return rmdir(folder) != 0 ? -1 : node_teardown(state);
}

static void assert_nodes(const char *names)
{
    char out[512] = "";

    for (size_t i = 0; i < nodes_count(nodes); i++) {
        (void)strcat(strcat(out, i == 0 ? "" : " "), nodes_at(nodes, i)->spec->name);
    }
    assert_string_equal(out, names);
}

static struct node *node_of(const char *name)
{
    struct node *n = nodes_by_name(nodes, slice_str(name));

    assert_non_null(n);
    return n;
}

static void add(const char *json)
{
    struct err e = {0};
    struct slice name;

    assert_int_equal(fleet_add(fleet, slice_str(json), &name, &e), FLEET_OK);
}

static bool has_looked(void *count)
{
    return looked >= *(const unsigned *)count;
}

static void wait_looked(unsigned count)
{
    run_until(has_looked, &count);
}

static bool kept;

static void on_kept(void *owner, const char *why_not)
{
    (void)owner;
    assert_null(why_not);
    kept = true;
}

static bool is_kept(void *arg)
{
    (void)arg;
    return kept;
}

/* What is said of nodes is written; the gateway then ends and starts again. */
static void start_anew(void)
{
    struct fleet_asker asker = {.done = on_kept};

    kept = false;
    fleet_keep(fleet, &asker);
    run_until(is_kept, NULL);
    fleet_free(&fleet);
    nodes_free(&nodes);
    node_set_make();
    fleet_make();
}

static void cordoned_and_back(void **state)
{
    struct err e = {0};

    (void)state;
    assert_int_equal(fleet_cordon(fleet, SLICE("one:1"), &e), FLEET_OK);
    assert_int_equal(node_of("one:1")->service, NODE_CORDONED);
    assert_int_equal(fleet_cordon(fleet, SLICE("one:1"), &e), FLEET_OK); /* once */
    assert_int_equal(counted(COUNTER_NODE_CORDONED), 1);
    start_anew();
    assert_int_equal(node_of("one:1")->service, NODE_CORDONED);
    assert_int_equal(node_of("two:2")->service, NODE_SERVING);
    assert_int_equal(fleet_uncordon(fleet, SLICE("one:1"), &e), FLEET_OK);
    assert_int_equal(node_of("one:1")->service, NODE_SERVING); /* it had no models */
    assert_int_equal(fleet_uncordon(fleet, SLICE("one:1"), &e), FLEET_OK);
    assert_int_equal(counted(COUNTER_NODE_UNCORDONED), 1);
    start_anew();
    assert_int_equal(node_of("one:1")->service, NODE_SERVING);
    assert_int_equal(fleet_cordon(fleet, SLICE("x"), &e), FLEET_UNKNOWN);
    assert_string_equal(e.text, "no node is called 'x'");
    assert_int_equal(fleet_uncordon(fleet, SLICE("x"), &e), FLEET_UNKNOWN);
}

static void what_a_cordoned_node_had_it_loads_first(void **state)
{
    struct err e = {0};
    struct node *n = node_of("two:2");

    (void)state;
    assert_int_equal(residency_read(&n->residency, SLICE("{\"models\":[{\"name\":\"m\","
                                                         "\"context_length\":8192}]}")),
                     MCP_OK);
    assert_int_equal(fleet_cordon(fleet, SLICE("two:2"), &e), FLEET_OK);
    start_anew();
    assert_int_equal(fleet_uncordon(fleet, SLICE("two:2"), &e), FLEET_OK);
    assert_int_equal(node_of("two:2")->service, NODE_WARMING);
    start_anew(); /* it has not loaded it yet */
    assert_int_equal(node_of("two:2")->service, NODE_WARMING);
    assert_int_equal(fleet_cordon(fleet, SLICE("two:2"), &e), FLEET_OK); /* that stays known */
    assert_int_equal(fleet_uncordon(fleet, SLICE("two:2"), &e), FLEET_OK);
    assert_int_equal(node_of("two:2")->service, NODE_WARMING);
}

static void added_and_removed(void **state)
{
    struct err e = {0};
    struct slice name;

    (void)state;
    add("{\"url\":\"http://three:3\",\"resident\":[\"m\"]}");
    add("{\"url\":\"http://four:4\",\"name\":\"4\",\"kind\":\"openai\",\"api_key\":\"k\"}");
    assert_nodes("one:1 two:2 three:3 4");
    start_anew();
    assert_nodes("one:1 two:2 three:3 4");
    assert_int_equal(node_of("4")->spec->kind, NODE_KIND_OPENAI);
    assert_string_equal(node_of("4")->spec->extra_headers, "Authorization: Bearer k\r\n");
    assert_int_equal(fleet_add(fleet, SLICE("{\"url\":\"http://three:3\"}"), &name, &e),
                     FLEET_CONFLICT);
    assert_int_equal(fleet_remove(fleet, SLICE("one:1"), &e), FLEET_CONFLICT);
    assert_non_null(strstr(e.text, "is a node of the configuration"));
    assert_int_equal(fleet_remove(fleet, SLICE("x"), &e), FLEET_UNKNOWN);
    assert_int_equal(fleet_remove(fleet, SLICE("three:3"), &e), FLEET_OK);
    start_anew();
    assert_nodes("one:1 two:2 4");
}

static void a_name_stands_for_what_is_found(void **state)
{
    static const char *const urls[] = {"dns://pool:7", "http://10.0.0.2:7"};
    struct err e = {0};
    struct config *other = config_with(urls, 2);
    struct buf page = {0};

    (void)state;
    other->nodes[0].slots = 3;
    assert_int_equal(fleet_use(fleet, other, &e), MCP_OK);
    assert_false(nodes_all_polled(nodes));
    assert_nodes("10.0.0.2:7");
    wait_looked(1);
    assert_nodes("10.0.0.2:7 10.0.0.1:7"); /* one that stands there by itself is not found */
    assert_string_equal(node_of("10.0.0.1:7")->spec->source, "dns://pool:7");
    assert_string_equal(node_of("10.0.0.2:7")->spec->source, "10.0.0.2:7");
    assert_int_equal(fleet_remove(fleet, SLICE("10.0.0.1:7"), &e), FLEET_CONFLICT);
    assert_non_null(strstr(e.text, "was found by dns://pool:7"));
    fleet_names(fleet, &page);
    assert_true(slice_eq(buf_slice(&page),
                         SLICE("[{\"name\":\"dns://pool:7\",\"url\":\"dns://pool:7\",\"nodes\":2,"
                               "\"error\":\"\"}]")));
    buf_fini(&page);
    add("{\"url\":\"dns://pool:8\",\"name\":\"pool\"}");
    wait_looked(2);
    assert_nodes("10.0.0.2:7 10.0.0.1:7 10.0.0.1:8 10.0.0.2:8");
    assert_string_equal(node_of("10.0.0.1:8")->spec->source, "pool");
    assert_int_equal(fleet_remove(fleet, SLICE("pool"), &e), FLEET_OK);
    assert_nodes("10.0.0.2:7 10.0.0.1:7");
    assert_int_equal(fleet_use(fleet, config, &e), MCP_OK);
    assert_nodes("one:1 two:2");
    config_unref(&other);
}

/* Either it is done, or nothing is. */
static void memory_may_run_out_anywhere(void **state)
{
    static const char *const urls[] = {"http://two:2", "dns://pool:7", "http://three:3"};
    struct err e = {0};
    struct config *other = config_with(urls, 3);
    struct slice name;
    int rv = MCP_ENOMEM;
    enum fleet_result result = FLEET_NO_MEMORY;

    (void)state;
    for (size_t at = 1; rv != MCP_OK; at++) {
        assert_true(at < 400);
        alloc_fault_at(at);
        rv = fleet_use(fleet, other, &e);
        alloc_fault_at(0);
        assert_true(rv == MCP_OK || rv == MCP_ENOMEM);
        assert_nodes(rv == MCP_OK ? "two:2 three:3" : "one:1 two:2");
    }
    for (size_t at = 1; result != FLEET_OK; at++) {
        assert_true(at < 400);
        alloc_fault_at(at);
        result = fleet_add(fleet, SLICE("{\"url\":\"http://f\",\"resident\":[\"m\"]}"), &name, &e);
        alloc_fault_at(0);
        assert_true(result == FLEET_OK || result == FLEET_NO_MEMORY);
        assert_nodes(result == FLEET_OK ? "two:2 three:3 f:80" : "two:2 three:3");
    }
    for (size_t at = 1; result != FLEET_UNKNOWN; at++) {
        assert_true(at < 400);
        alloc_fault_at(at);
        result = fleet_remove(fleet, SLICE("f:80"), &e);
        alloc_fault_at(0);
        assert_true(result == FLEET_OK || result == FLEET_NO_MEMORY || result == FLEET_UNKNOWN);
        assert_nodes(result == FLEET_NO_MEMORY ? "two:2 three:3 f:80" : "two:2 three:3");
    }
    config_unref(&other);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(cordoned_and_back),           TEST(what_a_cordoned_node_had_it_loads_first),
        TEST(added_and_removed),           TEST(a_name_stands_for_what_is_found),
        TEST(memory_may_run_out_anywhere),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
