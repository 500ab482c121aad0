/* SPDX-License-Identifier: Apache-2.0 */
/* Routes and models in the configuration: mappings whose keys are names. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

#include "gateway/config.h"

static struct config *load(const char *text, struct err *e)
{
    struct config_args args = {0};
    struct config *c;
    char path[32];
    int fd = memfd_create("yaml", MFD_CLOEXEC);

    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, strlen(text)), strlen(text));
    (void)snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    args.path = path;
    *e = (struct err){0};
    c = config_load(&args, e);
    (void)close(fd);
    return c;
}

static struct config *load_good(const char *text)
{
    struct err e;
    struct config *c = load(text, &e);

    if (c == NULL) {
        fail_msg("refused: %s\n%s", e.text, text);
    }
    return c;
}

static void what_is_taken(void **state)
{
    struct config *c = load_good("routes:\n"
                                 "  gpt-3.5-turbo: {arms: [{model: 'llama3:8b'}]}\n"
                                 "  'a[0].b':\n"
                                 "    sticky: session\n"
                                 "    window: 1m\n"
                                 "    min_requests: 0\n"
                                 "    arms:\n"
                                 "      - {model: 'a:v1', weight: 95}\n"
                                 "      - {model: 'a:v2', weight: 0}\n"
                                 "      - {model: 'a:v3', shadow: 100}\n"
                                 "    fallback: [b, c]\n"
                                 "models:\n"
                                 "  'llama3:8b': {pin: {num_ctx: 8192, use_mmap: false}}\n"
                                 "  other: {pin: {num_gpu: -1}}\n");
    const struct config_route *r = config_route_find(c, SLICE("gpt-3.5-turbo:latest"));

    (void)state;
    assert_int_equal(c->route_count, 2);
    assert_ptr_equal(r, &c->routes[0]);
    assert_int_equal(r->arm_count, 1);
    assert_int_equal(r->arms[0].weight, 1);
    assert_int_equal(r->sticky, CONFIG_STICKY_KEY);
    assert_int_equal(r->window_ms, 600000);
    assert_int_equal(r->min_requests, 50);
    assert_int_equal(r->fallback_count, 0);
    assert_null(config_route_find(c, SLICE("gpt-3")));
    assert_null(config_route_find(c, SLICE("gpt-3.5-turbo:v1")));
    r = config_route_find(c, SLICE("a[0].b"));
    assert_ptr_equal(r, &c->routes[1]);
    assert_int_equal(r->sticky, CONFIG_STICKY_SESSION);
    assert_int_equal(r->window_ms, 60000);
    assert_int_equal(r->min_requests, 0);
    assert_int_equal(r->arm_count, 3);
    assert_int_equal(r->arms[0].weight, 95);
    assert_int_equal(r->arms[1].weight, 0);
    assert_string_equal(r->arms[2].model, "a:v3");
    assert_int_equal(r->arms[2].shadow, 100);
    assert_int_equal(r->fallback_count, 2);
    assert_string_equal(r->fallback[1], "c");
    assert_int_equal(c->model_count, 2);
    assert_string_equal(config_model_find(c, SLICE("llama3:8b"))->pin.num_ctx, "8192");
    assert_string_equal(config_model_find(c, SLICE("llama3:8b"))->pin.use_mmap, "false");
    assert_null(config_model_find(c, SLICE("llama3:8b"))->pin.num_gpu);
    assert_string_equal(config_model_find(c, SLICE("other:latest"))->pin.num_gpu, "-1");
    assert_null(config_model_find(c, SLICE("llama3")));
    config_unref(&c);
}

static void what_is_refused(void **state)
{
    static const struct {
        const char *yaml;
        const char *error;
    } cases[] = {
        {"routes: x\n", "1: routes: expected names, and keys below each, not a single value"},
        {"routes: [a]\n", "1: routes: expected names, and keys below each, not a list"},
        {"routes:\n  a.b: x\n", "2: routes.a.b: expected keys below it: sticky, fallback, "
                                "window, min_requests, arms, not a single value"},
        {"routes:\n  a: {sticky: key}\n", "2: routes.a: expected arms, 1 to 8"},
        {"routes:\n  a: {}\n  a: {}\n", "3: routes.a: given twice"},
        {"routes:\n  'a b': {arms: [{model: m}]}\n",
         "2: routes.a b: expected a name of less than 100 printable ASCII characters "
         "without "
         "blanks"},
        {"routes:\n  a: {arm: []}\n", "2: routes.a.arm: unknown key; expected one of sticky, "
                                      "fallback, window, min_requests, arms"},
        {"routes:\n  a.b:\n    arms:\n    - {weight: 1}\n",
         "4: routes.a.b.arms[0]: the key 'model' is missing"},
        {"routes:\n  a.b:\n    arms:\n    - {model: m, weight: x}\n",
         "4: routes.a.b.arms[0].weight: expected a whole number, from 0 to 1000000, not "
         "'x'"},
        {"routes:\n  a: {arms: [{model: m, weight: 0}]}\n",
         "2: routes.a.arms[0]: the first arm needs a weight, and is no shadow"},
        {"routes:\n  a: {arms: [{model: m, shadow: 1}]}\n",
         "2: routes.a.arms[0]: the first arm needs a weight, and is no shadow"},
        {"routes:\n  a: {arms: [{model: m}, {model: m}]}\n",
         "2: routes.a.arms[1]: a second arm with the model 'm'"},
        {"routes:\n  a: {arms: [{model: m}], sticky: x}\n",
         "2: routes.a.sticky: expected key, session or request, not 'x'"},
        {"routes:\n  a: {arms: [{model: m}], fallback: x}\n",
         "2: routes.a.fallback: expected a list of models, not a single value"},
        {"routes:\n  a: {arms: [{model: m}], fallback: [[x]]}\n",
         "2: routes.a.fallback[0]: expected the name of a model, not a list"},
        {"routes:\n  a: {arms: [{model: m}], fallback: ['']}\n",
         "2: routes.a.fallback[0]: expected a name of less than 100 printable ASCII "
         "characters without blanks"},
        {"models:\n  m: {pin: {num_ctx: many}}\n",
         "2: models.m.pin.num_ctx: expected a whole number, true or false, not 'many'"},
        {"models:\n  m: {pin: {num_ctx: 007}}\n",
         "2: models.m.pin.num_ctx: expected a whole number, true or false, not '007'"},
        {"models:\n  m: {pins: {}}\n", "2: models.m.pins: unknown key; expected one of pin"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct err e;
        struct config *c = load(cases[i].yaml, &e);

        assert_null(c);
        assert_string_equal(strchr(e.text, ':') + 1, cases[i].error); /* behind the file's name */
    }
}

static void what_differs(void **state)
{
    static const char first[] = "routes:\n  a: {arms: [{model: m}, {model: n}], fallback: [b]}\n"
                                "models: {m: {pin: {num_ctx: 1}}}\n";
    static const struct {
        const char *yaml;
        const char *names;
    } cases[] = {
        {first, ""},
        {"routes: {}\n", "routes,models"},
        {"routes:\n  a: {arms: [{model: m}, {model: n}], fallback: [c]}\n"
         "models: {m: {pin: {num_ctx: 1}}}\n",
         "routes"},
        {"routes:\n  a: {arms: [{model: m}, {model: n, weight: 2}], fallback: [b]}\n"
         "models: {m: {pin: {num_ctx: 1}}}\n",
         "routes"},
        {"routes:\n  a: {arms: [{model: m}, {model: n}], fallback: [b]}\n"
         "models: {m: {pin: {num_ctx: 1, num_gpu: 0}}}\n",
         "models"},
    };
    struct config *a = load_good(first);

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct config *b = load_good(cases[i].yaml);
        struct buf names = {0};

        assert_true(config_changes(a, b, false, &names));
        assert_int_equal(buf_len(&names), strlen(cases[i].names));
        assert_true(slice_eq(buf_slice(&names), slice_str(cases[i].names)));
        buf_fini(&names);
        config_unref(&b);
    }
    config_unref(&a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_taken),
        cmocka_unit_test(what_is_refused),
        cmocka_unit_test(what_differs),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
