/* SPDX-License-Identifier: Apache-2.0 */
/* Lists of all nodes, from what is known of them. */
#include "node_fixture.h"

#include <string.h>

#include "alloc_fault.h"
#include "gateway/cluster.h"
#include "mcp/error.h"

static const struct openai_clock at = {.now_us = 0, .wall_us = 0};

static struct node *up(const char *url, enum node_kind kind, const char *lists, const char *has)
{
    struct node *n = node_add(url);

    n->kind = kind;
    assert_int_equal(catalogue_read(&n->catalogue, slice_str(lists)), MCP_OK);
    if (has != NULL) {
        assert_int_equal(residency_read(&n->residency, slice_str(has)), MCP_OK);
    }
    node_mark_up(n);
    return n;
}

#define ONE "{\"models\":[{\"name\":\"a:latest\",\"digest\":\"11\",\"x\":{}},{\"name\":\"b:7b\"}]}"
#define TWO "{\"models\":[{\"name\":\"A\",\"digest\":\"22\"},{\"name\":\"c:latest\"},{\"name\":7}]}"
#define THREE "{\"data\":[{\"id\":\"d\",\"object\":\"model\"},{\"id\":\"b:7b\"}]}"

static void assert_text(const struct buf *out, const char *text)
{
    assert_false(buf_failed(out));
    assert_int_equal(buf_len(out), strlen(text));
    assert_memory_equal(buf_slice(out).ptr, text, strlen(text));
}

static void each_model_once_as_the_first_node_says_it(void **state)
{
    struct buf out = {0};
    struct node *down;

    (void)state;
    down = up("http://zero", NODE_KIND_OLLAMA, "{\"models\":[{\"name\":\"z\"}]}", NULL);
    node_mark_down(down, "gone");
    (void)up("http://one", NODE_KIND_OLLAMA, ONE, "{\"models\":[{\"name\":\"b:7b\",\"y\":1}]}");
    assert_int_equal(cluster_tags(nodes, at, &out), MCP_OK);
    assert_text(&out, ONE); /* one alone speaks for itself */
    buf_clear(&out);
    (void)up("http://two", NODE_KIND_OLLAMA, TWO,
             "{\"models\":[{\"name\":\"B:7b\"},{\"name\":\"c\"}]}");
    assert_int_equal(cluster_tags(nodes, at, &out), MCP_OK);
    assert_text(&out, "{\"models\":[{\"name\":\"a:latest\",\"digest\":\"11\",\"x\":{}},"
                      "{\"name\":\"b:7b\"},{\"name\":\"c:latest\"}]}");
    buf_clear(&out);
    assert_int_equal(cluster_ps(nodes, at, &out), MCP_OK);
    assert_text(&out, "{\"models\":[{\"name\":\"b:7b\",\"y\":1},{\"name\":\"c\"}]}");
    buf_clear(&out);
    (void)up("http://three", NODE_KIND_OPENAI, THREE, NULL);
    assert_int_equal(cluster_models(nodes, &out), MCP_OK);
    assert_non_null(memmem(buf_slice(&out).ptr, buf_len(&out), "\"id\":\"a:latest\"", 15));
    assert_non_null(memmem(buf_slice(&out).ptr, buf_len(&out), "\"id\":\"d\"", 8));
    buf_fini(&out);
}

static void models_that_are_not_the_same_everywhere(void **state)
{
    struct buf out = {0};

    (void)state;
    cluster_drift(nodes, &out);
    assert_text(&out, "[]");
    (void)up("http://one", NODE_KIND_OLLAMA, ONE, NULL);
    (void)up("http://two", NODE_KIND_OLLAMA, TWO, NULL);
    (void)up("http://three", NODE_KIND_OPENAI, THREE, NULL);
    buf_clear(&out);
    cluster_drift(nodes, &out);
    assert_text(&out, "[{\"model\":\"a:latest\",\"digests\":[{\"node\":\"one:80\",\"digest\":"
                      "\"11\"},{\"node\":\"two:80\",\"digest\":\"22\"}]}]");
    node_mark_down(nodes_at(nodes, 0), "gone");
    buf_clear(&out);
    cluster_drift(nodes, &out);
    assert_text(&out, "[]");
    buf_fini(&out);
}

static void memory_may_run_out_anywhere(void **state)
{
    int (*const lists[])(struct nodes *, struct openai_clock, struct buf *) = {cluster_tags,
                                                                               cluster_ps};

    (void)state;
    (void)up("http://one", NODE_KIND_OLLAMA, ONE, "{\"models\":[{\"name\":\"b:7b\"}]}");
    (void)up("http://two", NODE_KIND_OLLAMA, TWO, "{\"models\":[{\"name\":\"c\"}]}");
    (void)up("http://three", NODE_KIND_OPENAI, THREE, NULL);
    for (size_t i = 0; i < 3; i++) {
        int rv = MCP_ENOMEM;

        for (size_t fail = 1; rv != MCP_OK; fail++) {
            struct buf out = {0};

            assert_true(fail < 500);
            alloc_fault_at(fail);
            rv = i < 2 ? lists[i](nodes, at, &out) : cluster_models(nodes, &out);
            alloc_fault_at(0);
            assert_true(rv == MCP_OK || rv == MCP_ENOMEM);
            assert_true(rv == MCP_ENOMEM || !buf_failed(&out));
            buf_fini(&out);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        NODE_TEST(each_model_once_as_the_first_node_says_it),
        NODE_TEST(models_that_are_not_the_same_everywhere),
        NODE_TEST(memory_may_run_out_anywhere),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
