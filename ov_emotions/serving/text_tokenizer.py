"""A bundle's tokeniser as a part of an OpenVINO graph: strings in, token ids out.

The operations come from the extension library of openvino-tokenizers, which Model Server has
inside. They are put together here, from tokenizer.json, rather than by that package's converter:
the converter needs transformers, keeps a state that has to be carried along, makes a special token
of a text that spells one, and counts the length of a word in bytes.

Text is read as `TextEncoder(..., long_texts="truncate")` reads it. What is left different:

- characters that the two Unicode tables fold or compose differently: final sigma and iota subscript
  of Greek, Cherokee, some letters of Old Church Slavonic, phonetic superscripts, segmented digits,
  characters newer than the tables, and a stack of combining marks that NFKC would sort first;
- Unigram only: where two segmentations have the same score, in long runs of one letter say, either
  may be taken.

The first touches what no Russian transcript holds, the second hardly a score; `text_check` tells
both from mistakes. Bytes that are not UTF-8 are read as U+FFFD, which the normaliser drops.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ov_emotions.bundle import TOKENIZER_NAME, Bundle
from ov_emotions.encoding import TextEncoder
from ov_emotions.errors import BundleSchemaError
from ov_emotions.serving.text_nodes import (
    Outputs,
    bounded,
    constant,
    near_parameter,
    node,
    pack_strings,
    string_constants,
    unpack_strings,
)

if TYPE_CHECKING:
    import openvino as ov

_SPLITTERS = {
    # A normalised text has only letters, digits and single spaces: no punctuation to split off.
    "BertPreTokenizer": ("remove", r"\s+", False),
    "WhitespaceSplit": ("remove", r"\s+", False),
    "Whitespace": ("remove", r"\w+|[^\w\s]+", True),
}
# What the tokenizers library takes \w for. The extension's engines leave out marks, and letters in
# circles and squares.
_WORD = r"[\p{L}\p{M}\p{Nd}\p{Nl}\p{Pc}\x{1F150}-\x{1F169}\x{1F170}-\x{1F189}]"

_UNKNOWN_WORD = "\U0010ffff"
"""No character, so in no vocabulary."""

_LONGEST_REPEAT = 1000
"""The largest count that a regular expression of the extension may have."""


@dataclass(frozen=True)
class TokenizerGraph:
    """Nodes that turn strings into a padded batch.

    :param text: the parameter, strings, shape [N].
    :param normalized: three outputs: where each normalised text begins, where it ends, all bytes.
    :param input_ids: i64, shape [N, tokens].
    :param attention_mask: i64, same shape: 1 for a token, 0 for padding.
    """

    text: Any
    normalized: Outputs
    input_ids: Any
    attention_mask: Any


def special_tokens(bundle: Bundle) -> int:
    """Count the tokens that frame every text.

    :param bundle: whose tokeniser to ask.
    :return: how many tokens an empty text has.
    """
    return int(bundle.tokenizer().num_special_tokens_to_add(False))


def pad_id(bundle: Bundle) -> int:
    """Find the token that fills a row.

    :param bundle: whose tokeniser to ask.
    :return: its id.
    """
    return TextEncoder(bundle.tokenizer(), bundle.manifest.max_length).encode([]).pad_id


def tokenizer_graph(bundle: Bundle, max_batch: int = -1) -> TokenizerGraph:
    """Build the graph of a bundle's normaliser and tokeniser, truncation and padding included.

    :param bundle: WordPiece or Unigram, with the normaliser of this library.
    :param max_batch: texts at most; any number if -1.
    :return: its nodes.
    :raises BundleSchemaError: if the tokeniser has a part that no graph can be made of.
    """
    import openvino.opset15 as ops
    from openvino import Type

    spec = json.loads(bundle.tokenizer().to_str())
    text = ops.parameter(bounded(max_batch), Type.string, name="text")
    text.output(0).set_names({"text"})
    try:
        unpacked = unpack_strings(text)
        strings = node("UTF8Validate", unpacked, replace_mode=True)
        for step in spec["normalizer"]["normalizers"]:
            strings = _normalize(strings, step)
        pieces = _pre_tokenize(_rows(strings), spec["pre_tokenizer"])
        tokens = _tokenize(pieces, spec["model"])
        framed = _frame(tokens, spec["post_processor"]["single"], bundle)
    except (KeyError, TypeError) as error:
        raise BundleSchemaError(
            f"{bundle.folder / TOKENIZER_NAME} has a part that a served model cannot hold: "
            f"{error}; serve it with --token-in"
        ) from error
    input_ids, mask = (near_parameter(unpacked[0], array) for array in _pad(framed, bundle))
    return TokenizerGraph(text, strings, input_ids, mask)


def tokenizer_model(bundle: Bundle) -> ov.Model:
    """Build the tokeniser alone, to compare it with the original.

    :param bundle: whose tokeniser.
    :return: `text`, strings [N], to `input_ids` and `attention_mask`, i64 [N, tokens], and
        `normalized`, strings [N].
    :raises BundleSchemaError: if the tokeniser has a part that no graph can be made of.
    """
    import openvino as ov
    import openvino.opset15 as ops

    graph = tokenizer_graph(bundle)
    outputs = {
        "input_ids": graph.input_ids,
        "attention_mask": graph.attention_mask,
        "normalized": pack_strings(graph.normalized),
    }
    results = []
    for name, output in outputs.items():
        output.set_names({name})
        results.append(ops.result(output))
    return ov.Model(results, [graph.text], "tokenizer")


def _replace(strings: Outputs, pattern: str, by: str) -> Outputs:
    inputs = [*strings, *string_constants(pattern), *string_constants(by)]
    return node("RegexNormalization", inputs, global_replace=True)


def _charsmap(strings: Outputs, form: str, *, case_fold: bool = False) -> Outputs:
    return node(
        "CharsMapNormalization",
        strings,
        normalization_form=form,
        case_fold=case_fold,
        remove_extra_whitespaces=False,
    )


def _normalize(strings: Outputs, step: Mapping[str, Any]) -> Outputs:
    kind = step["type"]
    if kind == "NFKC":
        # A pass does not compose what it has just taken apart: a ligature before an accent, say.
        return _charsmap(_charsmap(strings, "nfkc"), "nfkc")
    if kind == "Lowercase":
        # Simple folding leaves this one letter, whose lower case is two characters.
        return _replace(_charsmap(strings, "identity", case_fold=True), "İ", "i\u0307")
    if kind == "Replace":
        return _replace(strings, step["pattern"]["Regex"].replace(r"\w", _WORD), step["content"])
    if kind == "Strip" and step["strip_left"] and step["strip_right"]:
        return _replace(strings, r"^\s+|\s+$", "")
    raise KeyError(f"normaliser {kind}")


def _rows(strings: Outputs) -> Outputs:
    """Give every text a row of one piece."""
    import openvino.opset15 as ops

    zero, one = constant(0), constant(1)
    count = ops.convert(ops.shape_of(strings[0], "i32"), "i32")
    count = ops.squeeze(count, constant([0]))
    begins = ops.range(zero, count, one, "i32").output(0)
    return [begins, ops.add(begins, one).output(0), *strings]


def _pre_tokenize(pieces: Outputs, spec: Mapping[str, Any]) -> Outputs:
    kind = spec["type"]
    behaviour, pattern, invert = "mergedwithnext", "", False
    if kind == "Metaspace":
        if spec["prepend_scheme"] != "always" or not spec["split"]:
            raise KeyError("pre-tokeniser Metaspace without prepend_scheme always and split")
        pattern = spec["replacement"]
        strings = _replace(pieces[2:], " ", pattern)
        # An empty text stays empty.
        strings = _replace(strings, f"^([^{pattern}])", f"{pattern}\\1")
        pieces = [*pieces[:2], *strings]
    elif kind in _SPLITTERS:
        behaviour, pattern, invert = _SPLITTERS[kind]
    else:
        raise KeyError(f"pre-tokeniser {kind}")
    inputs = [*pieces, *string_constants(pattern)]
    return node("RegexSplit", inputs, behaviour=behaviour, invert=invert, max_splits=-1)[:5]


def _tokenize(pieces: Outputs, spec: Mapping[str, Any]) -> Outputs:
    """Cut pieces into tokens: three outputs, where each row begins and ends, and all ids."""
    import openvino.opset15 as ops

    if spec["type"] == "WordPiece":
        return _wordpiece(pieces, spec)
    if spec["type"] != "Unigram":
        raise KeyError(f"model {spec['type']}")
    # Not to be rounded to half precision by a plugin: the scores decide the segmentation.
    scores = ops.constant(np.array([score for _, score in spec["vocab"]], dtype=np.float32))
    scores.get_rt_info()["precise_0"] = ""
    scores.get_rt_info()["keep_const_precision_0"] = ""
    vocabulary = string_constants([piece for piece, _ in spec["vocab"]])
    return node(
        "UnigramTokenizer",
        [*pieces, *vocabulary, scores.output(0)],
        byte_fallback=bool(spec["byte_fallback"]),
        unk_token_id=spec["unk_id"],
        fuse_unk=True,
    )


def _wordpiece(pieces: Outputs, spec: Mapping[str, Any]) -> Outputs:
    vocabulary: dict[str, int] = spec["vocab"]
    if sorted(vocabulary.values()) != list(range(len(vocabulary))):
        raise KeyError("vocabulary with gaps")
    longest = int(spec["max_input_chars_per_word"])
    if longest >= _LONGEST_REPEAT:
        raise KeyError(f"max_input_chars_per_word of {longest}")
    # The operation counts bytes where the tokeniser counts characters, so a Cyrillic word would be
    # unknown at half the length: what is too long is replaced before, and the bytes are no limit.
    words = _replace(pieces[2:], rf"^.{{{longest + 1},}}$", _UNKNOWN_WORD)
    return node(
        "WordpieceTokenizer",
        [
            *pieces[:2],
            *words,
            *string_constants(sorted(vocabulary, key=vocabulary.__getitem__)),
            constant(vocabulary[spec["unk_token"]]),
        ],
        suffix_indicator=spec["continuing_subword_prefix"],
        max_bytes_per_word=4 * longest,
    )


def _frame(tokens: Outputs, template: Sequence[Mapping[str, Any]], bundle: Bundle) -> Outputs:
    """Truncate, and put the special tokens around every row."""
    tokenizer = bundle.tokenizer()
    room = bundle.manifest.max_length - special_tokens(bundle)
    tokens = node(
        "Truncate",
        [*tokens, constant(room), *string_constants("right"), *string_constants("longest_first")],
    )
    inputs: Outputs = []
    for part in template:
        if "Sequence" in part:
            inputs += tokens
        else:
            token = tokenizer.token_to_id(part["SpecialToken"]["id"])
            inputs += [constant(0), constant(1), constant([token])]
    return node("CombineSegments", [*inputs, constant([0] * len(template))])[:3]


def _pad(tokens: Outputs, bundle: Bundle) -> tuple[Any, Any]:
    """Pad every row to the longest: token ids and attention mask, i64 [N, tokens]."""
    import openvino.opset15 as ops

    begins, ends, ids = tokens
    width = ops.reduce_max(ops.subtract(ends, begins), constant(0))
    # Without special tokens, a text may have none at all.
    width = ops.maximum(width, constant(1)).output(0)
    padding = constant(pad_id(bundle))
    dense, mask = node(
        "RaggedToDense",
        [begins, ends, ids, width, padding],
        pad_right=True,
        pad_max_length=False,
    )[:2]
    return ops.convert(dense, "i64").output(0), ops.convert(mask, "i64").output(0)
