/* SPDX-License-Identifier: Apache-2.0 */
/* libFuzzer target: requests for embeddings that are put together, and answers that are cut up. The
 * first byte: which of the two, in which shape, how many inputs. What is written is read again as
 * what it was; all vectors of an answer, put together again, are those of the answer. */
#include <stdint.h>
#include <string.h>

#include <yyjson.h>

#include "base/check.h"
#include "base/json_scan.h"
#include "codec/embed.h"

enum { INPUTS_MAX = 4 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static bool same_inputs(const struct buf *a, const struct buf *b)
{
    const struct slice *as = (const void *)buf_slice(a).ptr;
    const struct slice *bs = (const void *)buf_slice(b).ptr;

    for (size_t i = 0; i < buf_len(a) / sizeof(*as); i++) {
        if (!slice_eq(as[i], bs[i])) {
            return false;
        }
    }
    return buf_len(a) == buf_len(b);
}

static void read_request(enum embed_shape shape, struct slice body)
{
    struct embed_ask ask = {.shape = shape, .body = body};
    struct buf head = {0}, inputs = {0}, whole = {0}, again = {0}, inputs_again = {0};

    if (embed_read(&ask, &head, &inputs) == EMBED_TAKEN) {
        ASSERT(buf_len(&inputs) >= sizeof(struct slice));
        ASSERT(embed_write(buf_slice(&head), (const void *)buf_slice(&inputs).ptr,
                           buf_len(&inputs) / sizeof(struct slice), &whole));
        ASSERT(json_validate(buf_slice(&whole), NULL) == JSON_OK);
        ask.body = buf_slice(&whole);
        ASSERT(embed_read(&ask, &again, &inputs_again) == EMBED_TAKEN);
        ASSERT(slice_eq(buf_slice(&head), buf_slice(&again)));
        ASSERT(same_inputs(&inputs, &inputs_again));
    }
    buf_fini(&head);
    buf_fini(&inputs);
    buf_fini(&whole);
    buf_fini(&again);
    buf_fini(&inputs_again);
}

static yyjson_val *vectors_of(yyjson_doc *doc, enum embed_shape shape)
{
    return yyjson_obj_get(yyjson_doc_get_root(doc), shape == EMBED_OLLAMA ? "embeddings" : "data");
}

static void check_vectors(enum embed_shape shape, struct slice body, struct slice written)
{
    yyjson_doc *was = yyjson_read(body.ptr, body.len, YYJSON_READ_NUMBER_AS_RAW);
    yyjson_doc *is = yyjson_read(written.ptr, written.len, YYJSON_READ_NUMBER_AS_RAW);

    if (was != NULL) { /* yyjson refuses half of a surrogate pair */
        ASSERT(is != NULL);
        ASSERT(yyjson_equals(vectors_of(was, shape), vectors_of(is, shape)));
    }
    yyjson_doc_free(was);
    yyjson_doc_free(is);
}

static void read_answer(enum embed_shape shape, struct slice body, size_t inputs)
{
    struct embed_answer a = {0}, again = {0};
    struct buf vectors = {0}, whole = {0};
    struct embed_writer w = {.out = &vectors};

    if (embed_answer_read(&a, shape, body, inputs)) {
        for (size_t i = 0; i < inputs; i++) {
            ASSERT(embed_write_vector(&w, body, embed_answer_vector(&a, i)));
        }
        ASSERT(embed_write_answer(&a, body, buf_slice(&vectors), a.tokens, &whole));
        ASSERT(json_validate(buf_slice(&whole), NULL) == JSON_OK);
        check_vectors(shape, body, buf_slice(&whole));
        ASSERT(embed_answer_read(&again, shape, buf_slice(&whole), inputs));
        ASSERT(again.tokens == a.tokens && again.cut_count == a.cut_count);
        embed_answer_fini(&again);
    }
    embed_answer_fini(&a);
    buf_fini(&vectors);
    buf_fini(&whole);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    enum embed_shape shape;
    struct slice in;

    if (size == 0) {
        return 0;
    }
    in = slice_of(data + 1, size - 1);
    shape = (data[0] & 1) != 0 ? EMBED_OPENAI : EMBED_OLLAMA;
    if ((data[0] & 2) != 0) {
        read_answer(shape, in, 1U + (data[0] >> 2) % INPUTS_MAX);
    } else {
        read_request(shape, in);
    }
    return 0;
}
