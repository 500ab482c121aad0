/* SPDX-License-Identifier: Apache-2.0 */
/* Deals about embeddings. Requests for them may reach a node together, so what it answers follows
 * from the inputs that it is asked for: the vector of input 1 of deal 7 is [7,1]. */
#include <stdlib.h>
#include <string.h>

#include "base/json_scan.h"
#include "world.h"

enum { INPUTS_MOST = 6 };

void embed_make_request(struct deal *d)
{
    struct buf *b = &d->request;

    d->inputs = one_in(2) ? 1 : 1 + (unsigned)pick(INPUTS_MOST);
    assert_true(buf_append_str(b, "{\"model\":\"m\",\"input\":"));
    if (d->inputs == 1 && one_in(2)) {
        assert_true(buf_printf(b, "\"%u/0 x\"}", d->number));
        return;
    }
    for (unsigned i = 0; i < d->inputs; i++) {
        assert_true(buf_printf(b, "%s\"%u/%u %.*s\"", i == 0 ? "[" : ",", d->number, i,
                               (int)pick(40), "the words of it, more or fewer of them"));
    }
    assert_true(buf_append_str(b, "]}"));
}

/* What the answer has of this deal. */
void embed_put_vectors(const struct deal *d, struct buf *out)
{
    for (unsigned i = 0; i < d->inputs; i++) {
        assert_true(buf_printf(out, "%s[%u,%u]", i == 0 ? "" : ",", deal_root(d)->number, i));
    }
}

void embed_make_answer(struct deal *d)
{
    assert_true(buf_append_str(&d->lines, "{\"model\":\"m\",\"embeddings\":["));
    embed_put_vectors(d, &d->lines);
    assert_true(buf_printf(&d->lines, "],\"prompt_eval_count\":%u}\n", d->inputs));
    d->line_ends[d->line_count++] = buf_len(&d->lines);
}

/* Of which deal it is, by number, and which. */
static unsigned read_input(struct slice text, unsigned *index)
{
    char copy[24];
    char *rest;
    unsigned long number;

    slice_copy(slice_skip(text, 1), copy, sizeof(copy));
    number = strtoul(copy, &rest, 10);
    assert_true(*rest == '/' && number < world.first_deal + world.deal_count);
    *index = (unsigned)strtoul(rest + 1, NULL, 10);
    return (unsigned)number;
}

/* NULL: of a former round. */
static struct deal *deal_numbered(unsigned number)
{
    struct deal *d = number < world.first_deal ? NULL : &world.deals[number - world.first_deal];

    assert_true(d == NULL || d->is_embed);
    return d;
}

typedef void (*input_cb)(void *owner, unsigned number, unsigned index);

static void each_input(struct slice body, input_cb cb, void *owner)
{
    struct json_member input, m;
    struct json_walk w;
    unsigned index, number;

    assert_int_equal(json_find(body, SLICE("input"), &input), JSON_OK);
    if (input.kind != JSON_ARRAY) {
        number = read_input(input.value, &index);
        cb(owner, number, index);
        return;
    }
    assert_int_equal(json_walk_begin(&w, input.value, JSON_ARRAY), JSON_OK);
    while (json_walk_next(&w, &m) == JSON_OK) {
        number = read_input(m.value, &index);
        cb(owner, number, index);
    }
}

static void take_deal(void *owner, unsigned number, unsigned index)
{
    struct deal **first = owner;

    (void)index;
    *first = *first == NULL ? deal_numbered(number) : *first;
}

struct deal *embed_deal_of(struct slice body)
{
    struct deal *first = NULL;

    each_input(body, take_deal, &first);
    return first;
}

struct made {
    struct buf vectors;
    unsigned count;
    const struct deal *bad; /* one that is refused */
};

static void make_vector(void *owner, unsigned number, unsigned index)
{
    struct made *made = owner;
    struct deal *d = deal_numbered(number);

    if (d != NULL) {
        assert_true(index < d->inputs);
        d->asked += index == 0;
        made->bad = d->shape == ANSWER_REFUSED ? d : made->bad;
    }
    assert_true(
        buf_printf(&made->vectors, "%s[%u,%u]", made->count++ == 0 ? "" : ",", number, index));
}

unsigned embed_answer(struct slice body, struct buf *out)
{
    struct json_member m;
    struct made made = {.count = 0};

    assert_int_equal(json_find(body, SLICE("model"), &m), JSON_OK);
    assert_true(slice_eq(m.value, SLICE("\"m\"")));
    each_input(body, make_vector, &made);
    if (made.bad != NULL) {
        assert_true(buf_printf(out, "{\"error\":\"deal %u is refused\"}", made.bad->number));
    } else {
        assert_true(buf_printf(out,
                               "{\"model\":\"m\",\"embeddings\":[%.*s],\"total_duration\":7,"
                               "\"prompt_eval_count\":%u}",
                               SLICE_ARG(buf_slice(&made.vectors)), made.count));
    }
    buf_fini(&made.vectors);
    return made.bad != NULL ? 400 : 200;
}

void embed_check(const struct deal *d)
{
    struct buf text = {0};
    struct slice got = buf_slice(&d->got), vectors;

    if (d->end != DEAL_WHOLE) {
        return;
    }
    assert_int_not_equal(d->shape, ANSWER_REFUSED);
    assert_true(buf_append_str(&text, "\"embeddings\":["));
    embed_put_vectors(d, &text);
    assert_true(buf_append_str(&text, "],"));
    vectors = buf_slice(&text);
    if (memmem(got.ptr, got.len, vectors.ptr, vectors.len) == NULL) {
        print_error("deal %u: got %.*s\n", d->number, SLICE_ARG(got));
    }
    assert_non_null(memmem(got.ptr, got.len, vectors.ptr, vectors.len));
    buf_fini(&text);
}
