/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "codec/model_name.h"
#include "json_gen.h"

#define PART80 "88888888888888888888888888888888888888888888888888888888888888888888888888888888"
#define PART350 PART80 PART80 PART80 PART80 "888888888888888888888888888888"

/* What Ollama's ParseName and ParseRef make of them. */
static const struct {
    const char *name;
    const char *canonical;
} valid[] = {
    {"llama3", "registry.ollama.ai/library/llama3:latest"},
    {"llama3:latest", "registry.ollama.ai/library/llama3:latest"},
    {"library/llama3", "registry.ollama.ai/library/llama3:latest"},
    {"registry.ollama.ai/library/llama3", "registry.ollama.ai/library/llama3:latest"},
    {"https://registry.ollama.ai/library/llama3:latest",
     "registry.ollama.ai/library/llama3:latest"},
    {"http:///library/llama3", "registry.ollama.ai/library/llama3:latest"},
    {"LLaMA3:Latest", "registry.ollama.ai/library/llama3:latest"},
    {" llama3\n", "registry.ollama.ai/library/llama3:latest"},
    {"llama3:8b", "registry.ollama.ai/library/llama3:8b"},
    {"user/model", "registry.ollama.ai/user/model:latest"},
    {"User/Model:Q4_K_M", "registry.ollama.ai/user/model:q4_k_m"},
    {"registry.ollama.ai/library/dolphin-mistral:7b-v2.6-dpo-laser-q6_K",
     "registry.ollama.ai/library/dolphin-mistral:7b-v2.6-dpo-laser-q6_k"},
    {"scheme://host:port/namespace/model:tag", "host:port/namespace/model:tag"},
    {"host:port/namespace/model", "host:port/namespace/model:latest"},
    {"host/namespace/model:tag", "host/namespace/model:tag"},
    {"hf.co/bartowski/Llama-3.2-1B-Instruct-GGUF:Q4_K_M",
     "hf.co/bartowski/llama-3.2-1b-instruct-gguf:q4_k_m"},
    {"h/nn/mm:t", "h/nn/mm:t"},
    {"_why/_the/_lucky:_stiff", "_why/_the/_lucky:_stiff"},
    {"host:https/namespace/model:tag", "host:https/namespace/model:tag"},
    {"a./b/c..:d..", "a./b/c..:d.."},
    {PART80 ":" PART80, "registry.ollama.ai/library/" PART80 ":" PART80},
    {PART350 "/" PART80 "/" PART80 ":" PART80, PART350 "/" PART80 "/" PART80 ":" PART80},
    /* Where the model runs. */
    {"llama3:local", "registry.ollama.ai/library/llama3:latest"},
    {"llama3:8b:LOCAL", "registry.ollama.ai/library/llama3:8b"},
    {"gpt-oss:cloud", "registry.ollama.ai/library/gpt-oss:cloud"},
    {"gpt-oss:20b-cloud", "registry.ollama.ai/library/gpt-oss:20b-cloud"},
    {"gpt-oss:20b:cloud", "registry.ollama.ai/library/gpt-oss:20b-cloud"},
    {"gpt-oss:20b-Cloud", "registry.ollama.ai/library/gpt-oss:20b-cloud"},
    {"host:1/ns/m-cloud", "host:1/ns/m-cloud:latest"},
    {"m-cloud", "registry.ollama.ai/library/m-cloud:latest"},
};

static const struct slice refused[] = {
    SLICE(""),
    SLICE(" "),
    SLICE(":"),
    SLICE("/"),
    SLICE("//"),
    SLICE("///"),
    SLICE("://"),
    SLICE("m:"),
    SLICE(":t"),
    SLICE("/m"),
    SLICE("n/"),
    SLICE("n/m:"),
    SLICE("/n/m"),
    SLICE("h//m"),
    SLICE("//m"),
    SLICE("hh//"),
    SLICE("a/h/n/m"),
    SLICE("https://host/model"),
    SLICE("@t"),
    SLICE("m@d"),
    SLICE("^"),
    SLICE("-hh/nn/mm:tt"),
    SLICE("hh/-nn/mm:tt"),
    SLICE("hh/nn/-mm:tt"),
    SLICE("hh/nn/mm:-tt"),
    SLICE(".m"),
    SLICE("n.s/m"),
    SLICE("host/name:space/model:tag"),
    SLICE("m:t:u"),
    SLICE("m x"),
    SLICE("m\0"),
    SLICE("m\0x"),
    SLICE("m:t\0"),
    SLICE("m\xC3\xA9"),
    SLICE("\xE2\x84\xAA"),
    SLICE("../../etc/passwd"),
    SLICE("!llama3"),
    SLICE(PART80 "8"),
    SLICE("m:" PART80 "8"),
    SLICE("m:" PART80 "-cloud"),
    SLICE(PART80 "8/m"),
    SLICE(PART350 "8/n/m"),
    SLICE("m:local:cloud"),
    SLICE("m:cloud:local"),
    SLICE("m:8b-cloud:cloud"),
    SLICE(":cloud"),
    SLICE("m:-cloud"),
};

static void valid_names(void **state)
{
    struct buf out;

    (void)state;
    buf_init(&out, 0);
    for (size_t i = 0; i < sizeof(valid) / sizeof(valid[0]); i++) {
        buf_clear(&out);
        assert_true(model_name_canonical(slice_str(valid[i].name), &out));
        if (!slice_eq(buf_slice(&out), slice_str(valid[i].canonical))) {
            fail_msg("%s became %.*s", valid[i].name, SLICE_ARG(buf_slice(&out)));
        }
        assert_true(model_name_same(slice_str(valid[i].name), slice_str(valid[i].canonical)));
    }
    buf_fini(&out);
}

static void refused_names_equal_only_themselves(void **state)
{
    struct buf out;
    struct buf again;

    (void)state;
    buf_init(&out, 0);
    buf_init(&again, 0);
    for (size_t i = 0; i < sizeof(refused) / sizeof(refused[0]); i++) {
        buf_clear(&out);
        buf_clear(&again);
        assert_true(model_name_canonical(refused[i], &out));
        if (buf_slice(&out).ptr[0] != '!') {
            fail_msg("%.*s was taken", SLICE_ARG(refused[i]));
        }
        assert_true(model_name_same(refused[i], refused[i]));
        assert_false(model_name_same(refused[i], SLICE("llama3")));
        /* Its canonical form is no name either. */
        assert_true(model_name_canonical(buf_slice(&out), &again));
        assert_false(slice_eq(buf_slice(&out), buf_slice(&again)));
        for (size_t j = 0; j < i; j++) {
            assert_false(model_name_same(refused[i], refused[j]));
        }
    }
    buf_fini(&out);
    buf_fini(&again);
}

/* Both ways of comparing agree, and a canonical name is its own canonical name. */
static void random_names(void **state)
{
    static const char letters[] = "aAb:/.-_! 8";
    static const char *const ends[] = {"", ":latest", ":cloud", "-cloud", ":local"};
    struct json_gen g = {.state = 99};
    struct buf left;
    struct buf right;
    unsigned same = 0;

    (void)state;
    buf_init(&left, 0);
    buf_init(&right, 0);
    for (int i = 0; i < 50000; i++) {
        char names[2][32];
        struct slice a;
        struct slice b;

        for (int n = 0; n < 2; n++) {
            size_t len = json_gen_pick(&g, 5);

            for (size_t at = 0; at < len; at++) {
                names[n][at] = letters[json_gen_pick(&g, sizeof(letters) - 1)];
            }
            names[n][len] = '\0';
            (void)strcat(names[n], ends[json_gen_pick(&g, 5)]); /* 4 + 7 bytes at most */
        }
        a = slice_str(names[0]);
        b = slice_str(names[1]);
        buf_clear(&left);
        buf_clear(&right);
        assert_true(model_name_canonical(a, &left));
        assert_true(model_name_canonical(b, &right));
        assert_int_equal(model_name_same(a, b), slice_eq(buf_slice(&left), buf_slice(&right)));
        same += model_name_same(a, b);
        if (buf_slice(&left).ptr[0] != '!') {
            buf_clear(&right);
            assert_true(model_name_canonical(buf_slice(&left), &right));
            assert_true(slice_eq(buf_slice(&left), buf_slice(&right)));
        }
    }
    assert_true(same > 100);
    buf_fini(&left);
    buf_fini(&right);
}

static void no_room_is_told(void **state)
{
    struct buf out;

    (void)state;
    for (size_t room = 1; room < 45; room++) {
        buf_init(&out, room);
        assert_int_equal(model_name_canonical(SLICE("llama3"), &out), room >= 40);
        buf_fini(&out);
        buf_init(&out, room);
        assert_int_equal(model_name_canonical(SLICE("a b"), &out), room >= 4);
        buf_fini(&out);
    }
}

static void cloud_models_are_told_by_their_name(void **state)
{
    static const char *const cloud[] = {"m:cloud", "m:8b-cloud", "gpt-oss:120b-Cloud",
                                        "m:8b:cloud"};
    static const char *const local[] = {"m",        "m:8b",     "cloud", "m-cloud",
                                        "cloud:8b", "m:cloudy", ""};

    (void)state;
    for (size_t i = 0; i < sizeof(cloud) / sizeof(cloud[0]); i++) {
        assert_true(model_name_is_cloud(slice_str(cloud[i])));
    }
    for (size_t i = 0; i < sizeof(local) / sizeof(local[0]); i++) {
        assert_false(model_name_is_cloud(slice_str(local[i])));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(cloud_models_are_told_by_their_name),
        cmocka_unit_test(valid_names),
        cmocka_unit_test(refused_names_equal_only_themselves),
        cmocka_unit_test(random_names),
        cmocka_unit_test(no_room_is_told),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
