#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes small GGUF models with random weights: they load and answer at once, and what they say means nothing.

usage: models.py FOLDER NAME...
tiny: a Llama of one layer that speaks words more readily than single bytes; tinyembed: such a BERT.
"""
import pathlib
import sys

import gguf
import numpy

WIDTH, HEADS, INNER, CONTEXT = 64, 4, 128, 2048
NORMAL, UNKNOWN, CONTROL, BYTE = 1, 2, 3, 6  # kinds of tokens
SPACE = "\u2581"
WORDS = ("the a of and to in is was it he she cat dog sat on mat once upon time there lived king queen "
         "who had").split()
LETTERS = "abcdefghijklmnopqrstuvwxyz"


class Model:
    def __init__(self, path, architecture):
        self.random = numpy.random.default_rng(7)
        self.writer = gguf.GGUFWriter(path, architecture)
        self.writer.add_name("tiny")
        self.writer.add_context_length(CONTEXT)
        self.writer.add_embedding_length(WIDTH)
        self.writer.add_block_count(1)
        self.writer.add_feed_forward_length(INNER)
        self.writer.add_head_count(HEADS)
        self.writer.add_file_type(gguf.LlamaFileType.ALL_F32)

    def tokens(self, kind, tokens, types):
        self.writer.add_tokenizer_model(kind)
        self.writer.add_token_list(tokens)
        self.writer.add_token_types(types)

    def noise(self, *shape, scale=0.2):
        return (self.random.standard_normal(shape) * scale).astype(numpy.float32)

    def add(self, name, values):
        self.writer.add_tensor(name, values)

    def same(self, name, value, size):
        self.add(name, numpy.full(size, value, numpy.float32))

    def layer(self, biases):
        """The matrices of the one layer; `biases` of nought for each of them too, where the kind has any."""
        shapes = {f"attn_{which}": (WIDTH, WIDTH) for which in ("q", "k", "v", "output")}
        shapes |= {"ffn_up": (INNER, WIDTH), "ffn_down": (WIDTH, INNER)}
        for name, shape in shapes.items():
            self.add(f"blk.0.{name}.weight", self.noise(*shape))
            if biases:
                self.same(f"blk.0.{name}.bias", 0, shape[0])

    def finish(self):
        self.writer.write_header_to_file()
        self.writer.write_kv_data_to_file()
        self.writer.write_tensors_to_file()
        self.writer.close()


def write_tiny(path):
    model = Model(path, "llama")
    specials = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256))]
    spoken = list(dict.fromkeys([SPACE + word for word in WORDS] + list(LETTERS + SPACE + ".,")))
    tokens, count = specials + spoken, len(specials) + len(spoken)
    model.tokens("llama", [token.encode() for token in tokens],
                 [UNKNOWN, CONTROL, CONTROL] + [BYTE] * 256 + [NORMAL] * len(spoken))
    writer = model.writer
    writer.add_token_scores([0.0] * len(specials) + [-float(i) for i in range(len(specials), count)])
    writer.add_unk_token_id(0)
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_vocab_size(count)
    writer.add_head_count_kv(HEADS)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_dimension_count(WIDTH // HEADS)
    model.add("token_embd.weight", model.noise(count, WIDTH, scale=1))
    model.same("output_norm.weight", 1, WIDTH)
    output = model.noise(count, WIDTH, scale=1)
    output[:len(specials)] *= 0.01
    model.add("output.weight", output)
    model.layer(biases=False)
    model.add("blk.0.ffn_gate.weight", model.noise(INNER, WIDTH))
    model.same("blk.0.attn_norm.weight", 1, WIDTH)
    model.same("blk.0.ffn_norm.weight", 1, WIDTH)
    model.finish()


def write_tinyembed(path):
    model = Model(path, "bert")
    specials = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    letters = LETTERS + "0123456789"
    tokens = specials + [SPACE + x for x in letters + ".,"] + list(letters)
    tokens += [SPACE + x for x in ("hello", "world", "the", "cat")]
    model.tokens("bert", [token.encode() for token in tokens],
                 [CONTROL] * len(specials) + [NORMAL] * (len(tokens) - len(specials)))
    writer = model.writer
    writer.add_token_type_count(2)
    writer.add_pad_token_id(0)
    writer.add_unk_token_id(1)
    writer.add_bos_token_id(2)
    writer.add_eos_token_id(3)
    writer.add_sep_token_id(3)
    writer.add_mask_token_id(4)
    writer.add_layer_norm_eps(1e-5)
    writer.add_causal_attention(False)
    writer.add_pooling_type(gguf.PoolingType.MEAN)
    model.add("token_embd.weight", model.noise(len(tokens), WIDTH, scale=1))
    model.add("token_types.weight", model.noise(2, WIDTH))
    model.add("position_embd.weight", model.noise(CONTEXT, WIDTH, scale=0.02))
    model.layer(biases=True)
    for norm in ("token_embd_norm", "blk.0.attn_output_norm", "blk.0.layer_output_norm"):
        model.same(f"{norm}.weight", 1, WIDTH)
        model.same(f"{norm}.bias", 0, WIDTH)
    model.finish()


WRITERS = {"tiny": write_tiny, "tinyembed": write_tinyembed}


def main():
    folder, *names = sys.argv[1:]
    for name in names:
        WRITERS[name](pathlib.Path(folder) / f"{name}.gguf")


if __name__ == "__main__":
    main()
