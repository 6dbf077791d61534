"""A bundle's tokeniser as a part of an OpenVINO graph: strings in, token ids out.

The operations come from the extension library of openvino-tokenizers, which Model Server has
inside. They are put together here, from tokenizer.json, rather than by that package's converter:
the converter needs transformers, keeps a state that has to be carried along, makes a special token
of a text that spells one, and counts the length of a word in bytes.

Text is read as `TextEncoder(..., long_texts="truncate")` reads it, with the normaliser of this
library or, in converted bundles, with whatever the tokeniser brings: WordPiece, byte-level BPE,
SentencePiece's BPE and Unigram. What is left different:

- characters that the two Unicode tables fold, compose or classify differently: final sigma and iota
  subscript of Greek, Cherokee, some letters of Old Church Slavonic, phonetic superscripts,
  segmented digits, characters newer than the tables, and a stack of combining marks that NFKC would
  sort first;
- Unigram only: where two segmentations have the same score, in long runs of one letter say, either
  may be taken.

The first touches what no Russian transcript holds, the second hardly a score; `text_check` tells
both from mistakes. Bytes that are not UTF-8 are read as U+FFFD.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import openvino as ov
import openvino.opset15 as ops

from ov_emotions.bundle import Bundle
from ov_emotions.encoding import TextEncoder
from ov_emotions.errors import BundleSchemaError
from ov_emotions.manifest import TOKENIZER_NAME
from ov_emotions.normalize import NO_NORMALIZER
from ov_emotions.serving.text_nodes import (
    Outputs,
    bounded,
    bytes_constant,
    constant,
    near_parameter,
    node,
    pack_strings,
    string_constants,
    unpack_strings,
)

# Insides of character classes. What the tokenizers library takes \w for; the extension's engines
# leave out marks, and letters in circles and squares.
_WORD = r"\p{L}\p{M}\p{Nd}\p{Nl}\p{Pc}\x{1F150}-\x{1F169}\x{1F170}-\x{1F189}"
_SPACE = r"\t\n\x{B}\f\r\x{85}\p{Z}"
_PUNCTUATION = r"!-/:-@\[-`{-~\p{P}"

# What BERT's normaliser and splitter go by.
_CONTROL = r"[\p{Cf}\p{Co}\x{FFFD}]|(?![\t\n\r])\p{Cc}"
_CHINESE = (
    r"([\x{3400}-\x{4DBF}\x{4E00}-\x{9FFF}\x{F900}-\x{FAFF}\x{20000}-\x{2A6DF}"
    r"\x{2A700}-\x{2B81F}\x{2B920}-\x{2CEAF}\x{2F800}-\x{2FA1F}])"
)
_GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"

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
    """Count the tokens that frame every text."""
    return int(bundle.tokenizer().num_special_tokens_to_add(False))


def pad_id(bundle: Bundle) -> int:
    """Find the token that fills a row."""
    return TextEncoder(bundle.tokenizer(), bundle.manifest.max_length).encode([]).pad_id


def tokenizer_graph(bundle: Bundle, max_batch: int = -1) -> TokenizerGraph:
    """Build the graph of a bundle's normaliser and tokeniser, truncation and padding included.

    :raises BundleSchemaError: if the tokeniser has a part that no graph can be made of.
    """
    spec = json.loads(bundle.tokenizer().to_str())
    text = ops.parameter(bounded(max_batch), ov.Type.string, name="text")
    text.output(0).set_names({"text"})
    try:
        for token in spec.get("added_tokens", ()):
            if not token["special"]:
                raise KeyError(f"added token {token['content']!r} that is not special")
        splitter = spec["pre_tokenizer"]
        if bundle.manifest.normalizer != NO_NORMALIZER and splitter["type"] == "BertPreTokenizer":
            # Letters, digits and single spaces are left: there is no punctuation to split off.
            splitter["type"] = "WhitespaceSplit"
        unpacked = unpack_strings(text)
        strings = node("UTF8Validate", unpacked, replace_mode=True)
        strings, read = _normalized(strings, spec["normalizer"], splitter)
        if by_words := splitter is not None and splitter["type"] == "WhitespaceSplit":
            # Once over the text costs less than over each word.
            read = _no_long_words(read, spec["model"], f"[^{_SPACE}]{{%d,}}")
        pieces = _split(_rows(read), splitter, top=True)
        if not by_words:
            pieces = [*pieces[:2], *_no_long_words(pieces[2:], spec["model"], "^.{%d,}$")]
        tokens = _tokenize(pieces, spec)
        framed = _frame(tokens, _template(spec["post_processor"]), bundle)
    except (KeyError, TypeError) as error:
        raise BundleSchemaError(
            f"{bundle.folder / TOKENIZER_NAME} has a part that a served model cannot hold: "
            f"{error}; serve it with --token-in"
        ) from error
    input_ids, mask = (near_parameter(unpacked[0], array) for array in _pad(framed, bundle))
    return TokenizerGraph(text, strings, input_ids, mask)


def tokenizer_model(bundle: Bundle) -> ov.Model:
    """Build the tokeniser alone, to compare it with the original.

    :raises BundleSchemaError: if the tokeniser has a part that no graph can be made of.
    """
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


# Normalisers


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


def _lowercase(strings: Outputs) -> Outputs:
    # Simple folding leaves this one letter, whose lower case is two characters.
    return _replace(_charsmap(strings, "identity", case_fold=True), "İ", "i\u0307")


def _normalized(
    strings: Outputs, step: Mapping[str, Any] | None, splitter: Mapping[str, Any] | None
) -> tuple[Outputs, Outputs]:
    """Normalise: the text as it is told, and as it is split, which need not be stripped before."""
    steps = (step or {}).get("normalizers") or [step]
    last = steps[-1]
    if not (
        last and last["type"] == "Strip" and splitter and splitter["type"] == "WhitespaceSplit"
    ):
        strings = _normalize(strings, step)
        return strings, strings
    for inner in steps[:-1]:
        strings = _normalize(strings, inner)
    return _normalize(strings, last), strings


def _normalize(strings: Outputs, step: Mapping[str, Any] | None) -> Outputs:
    kind = None if step is None else step["type"]
    if step is None:
        return strings
    if kind == "Sequence":
        for inner in step["normalizers"]:
            strings = _normalize(strings, inner)
        return strings
    if kind in ("NFC", "NFD", "NFKC", "NFKD"):
        # A pass does not compose what it has just taken apart: a ligature before an accent, say.
        return _charsmap(_charsmap(strings, kind.lower()), kind.lower())
    if kind == "Lowercase":
        return _lowercase(strings)
    if kind == "StripAccents":
        return _replace(strings, r"\p{M}", "")
    if kind == "Replace":
        return _replace(strings, _pattern(step["pattern"]), _literal(step["content"]))
    if kind == "Prepend":
        return _replace(strings, r"^([\s\S])", _literal(step["prepend"]) + r"\1")
    if kind == "Strip":
        left, right = step["strip_left"], step["strip_right"]
        ends = [rf"^[{_SPACE}]+"] * left + [rf"[{_SPACE}]+\z"] * right
        return _replace(strings, "|".join(ends), "") if ends else strings
    if kind == "BertNormalizer":
        return _bert_normalize(strings, step)
    if kind == "Precompiled":
        table = bytes_constant(base64.b64decode(step["precompiled_charsmap"]))
        return node(
            "CharsMapNormalization",
            [*strings, table],
            normalization_form="",
            remove_extra_whitespaces=False,
        )
    raise KeyError(f"normaliser {kind}")


def _bert_normalize(strings: Outputs, step: Mapping[str, Any]) -> Outputs:
    if step["clean_text"]:
        strings = _replace(_replace(strings, _CONTROL, ""), r"[\t\n\r\p{Z}]", " ")
    if step["handle_chinese_chars"]:
        strings = _replace(strings, _CHINESE, r" \1 ")
    accents = step["strip_accents"]
    if step["lowercase"] if accents is None else accents:
        strings = _replace(_charsmap(strings, "nfd"), r"\p{Mn}", "")
    return _lowercase(strings) if step["lowercase"] else strings


def _pattern(pattern: Mapping[str, str]) -> str:
    """Write a pattern for the extension's engine: that of a text, or a regular expression."""
    if "String" in pattern:
        return re.escape(pattern["String"])
    return pattern["Regex"].replace(r"\w", f"[{_WORD}]")


def _literal(text: str) -> str:
    if "\\" in text or "$" in text:
        raise KeyError(f"replacement {text!r}")
    return text


# Pre-tokenisers


def _rows(strings: Outputs) -> Outputs:
    """Give every text a row of one piece."""
    zero, one = constant(0), constant(1)
    count = ops.convert(ops.shape_of(strings[0], "i32"), "i32")
    count = ops.squeeze(count, constant([0]))
    begins = ops.range(zero, count, one, "i32").output(0)
    return [begins, ops.add(begins, one).output(0), *strings]


def _cut(pieces: Outputs, pattern: str, behaviour: str, *, invert: bool = False) -> Outputs:
    inputs = [*pieces, *string_constants(pattern)]
    return node("RegexSplit", inputs, behaviour=behaviour, invert=invert, max_splits=-1)[:5]


_BEHAVIOURS = {
    "Removed": "remove",
    "Isolated": "isolate",
    "MergedWithPrevious": "mergedwithprevious",
    "MergedWithNext": "mergedwithnext",
    "Contiguous": "contiguous",
}


def _split(pieces: Outputs, step: Mapping[str, Any] | None, *, top: bool) -> Outputs:
    """Cut pieces further; `top` tells that a piece is still a whole text."""
    if step is None:
        return pieces
    kind = step["type"]
    if kind == "Sequence":
        for inner in step["pretokenizers"]:
            pieces, top = _split(pieces, inner, top=top), False
        return pieces
    if kind == "BertPreTokenizer":
        # In one go: a second split misses marks inside pieces that the first one made.
        words = rf"[{_PUNCTUATION}]|[^{_SPACE}{_PUNCTUATION}]+"
        return _cut(pieces, words, "remove", invert=True)
    if kind == "WhitespaceSplit":
        return _cut(pieces, rf"[{_SPACE}]+", "remove")
    if kind == "Whitespace":
        return _cut(pieces, rf"[{_WORD}]+|[^{_WORD}{_SPACE}]+", "remove", invert=True)
    if kind == "Punctuation":
        return _cut(pieces, f"[{_PUNCTUATION}]", _BEHAVIOURS[step["behavior"]])
    if kind == "Digits":
        return _cut(pieces, r"\p{N}", "isolate" if step["individual_digits"] else "contiguous")
    if kind == "Split":
        behaviour = _BEHAVIOURS[step["behavior"]]
        return _cut(pieces, _pattern(step["pattern"]), behaviour, invert=step["invert"])
    if kind == "Metaspace":
        return _metaspace(pieces, step, top=top)
    if kind == "ByteLevel":
        if step["add_prefix_space"]:
            pieces = [*pieces[:2], *_replace(pieces[2:], r"^([^ ])", r" \1")]
        return _cut(pieces, _GPT2, "isolate") if step.get("use_regex", True) else pieces
    raise KeyError(f"pre-tokeniser {kind}")


def _metaspace(pieces: Outputs, step: Mapping[str, Any], *, top: bool) -> Outputs:
    mark, scheme = _literal(step["replacement"]), step["prepend_scheme"]
    if scheme == "first" and not top:
        raise KeyError("pre-tokeniser Metaspace with prepend_scheme first behind another")
    strings = _replace(pieces[2:], " ", mark)
    if scheme != "never":
        # An empty text stays empty.
        strings = _replace(strings, f"^([^{mark}])", f"{mark}\\1")
    pieces = [*pieces[:2], *strings]
    # As MergedWithNext, which the operation does otherwise where several marks follow each other.
    return _cut(pieces, f"{mark}[^{mark}]*", "isolate") if step.get("split", True) else pieces


# Models


def _tokenize(pieces: Outputs, whole: Mapping[str, Any]) -> Outputs:
    """Cut pieces into tokens: three outputs, where each row begins and ends, and all ids."""
    spec = whole["model"]
    if spec["type"] == "WordPiece":
        return _wordpiece(pieces, spec)
    if spec["type"] == "BPE":
        special = {token["content"] for token in whole.get("added_tokens", ())}
        return _bpe(pieces, spec, special, byte_level='"ByteLevel"' in json.dumps(whole))
    if spec["type"] != "Unigram":
        raise KeyError(f"model {spec['type']}")
    # Not to be rounded to half precision by a plugin: the scores decide the segmentation.
    scores = ops.constant(np.array([score for _, score in spec["vocab"]], dtype=np.float32))
    scores.get_rt_info()["precise_0"] = ""
    scores.get_rt_info()["keep_const_precision_0"] = ""
    # The operation ends a piece at a NUL, and may not have an empty one.
    written = [
        p if p and "\0" not in p else _UNKNOWN_WORD + str(i)
        for i, (p, _) in enumerate(spec["vocab"])
    ]
    vocabulary = string_constants(written)
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
    return node(
        "WordpieceTokenizer",
        [*pieces, *string_constants(_by_id(vocabulary)), constant(vocabulary[spec["unk_token"]])],
        suffix_indicator=spec["continuing_subword_prefix"],
        max_bytes_per_word=4 * int(spec["max_input_chars_per_word"]),
    )


def _no_long_words(strings: Outputs, spec: Mapping[str, Any], pattern: str) -> Outputs:
    """Replace words that WordPiece takes for unknown because they are long.

    The operation counts bytes where the tokeniser counts characters, so a Cyrillic word would be
    unknown at half the length: what is too long goes before, and the bytes are no limit.
    """
    if spec["type"] != "WordPiece":
        return strings
    longest = int(spec["max_input_chars_per_word"])
    if longest >= _LONGEST_REPEAT:
        raise KeyError(f"max_input_chars_per_word of {longest}")
    return _replace(strings, pattern % (longest + 1), _UNKNOWN_WORD)


def _bpe(
    pieces: Outputs, spec: Mapping[str, Any], special: set[str], *, byte_level: bool
) -> Outputs:
    for key in ("ignore_merges", "continuing_subword_prefix", "dropout"):
        if spec.get(key):
            raise KeyError(f"BPE with {key}")
    merges = [m.split(" ") if isinstance(m, str) else m for m in spec["merges"]]
    made = {"".join(merge) for merge in merges}
    unknown = spec["unk_token"]
    # The operation takes a text that spells a special token for that token.
    vocabulary = {
        (_UNKNOWN_WORD if token == unknown else f"{_UNKNOWN_WORD}{position}")
        if token == unknown or (token in special and token not in made and len(token) > 1)
        else token: position
        for token, position in spec["vocab"].items()
    }
    if not (byte_level or spec["byte_fallback"]):
        # It counts an unknown character by bytes: one byte, which no vocabulary has, stands for it.
        known = "".join(rf"\x{{{ord(token):X}}}" for token in vocabulary if len(token) == 1)
        unknowns = f"[^{known}]" + "+" * bool(spec["fuse_unk"])
        pieces = [*pieces[:2], *_replace(pieces[2:], unknowns, "\x01")]
    tokens = _by_id(vocabulary)
    left, right = ([merge[side] for merge in merges] for side in (0, 1))
    written: list[Any] = [tokens, left, right]
    if byte_level:
        # The vocabulary spells bytes as letters; here they are bytes.
        written = [[_to_bytes(token) for token in part] for part in written]
    inputs = [output for part in written for output in string_constants(part)]
    return node(
        "BPETokenizer",
        [*pieces, *inputs],
        unk_token="" if unknown is None else _UNKNOWN_WORD,
        fuse_unk=bool(spec["fuse_unk"]),
        suffix_indicator="",
        end_suffix=spec["end_of_word_suffix"] or "",
        byte_fallback=bool(spec["byte_fallback"]),
        cache_capacity=max(20_000, len(tokens) // 5),
    )


def _by_id(vocabulary: Mapping[str, int]) -> list[str]:
    """List tokens by id; nothing stands for an id that has none, as no piece is empty."""
    tokens = [""] * (max(vocabulary.values()) + 1)
    for token, position in vocabulary.items():
        tokens[position] = token
    return tokens


def _to_bytes(token: str) -> bytes:
    """Take back the letters that byte-level BPE writes for bytes; other tokens stay as they are."""
    try:
        return bytes(_BYTE_OF[letter] for letter in token)
    except KeyError:
        return token.encode()


def _byte_letters() -> dict[str, int]:
    """Give the byte of each letter: those that print are themselves, the others follow U+0100."""
    printed = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    letters = {chr(byte): byte for byte in printed}
    others = [byte for byte in range(256) if byte not in printed]
    return letters | {chr(0x100 + i): byte for i, byte in enumerate(others)}


_BYTE_OF = _byte_letters()


# Special tokens, truncation, padding


def _template(spec: Mapping[str, Any] | None) -> list[str | None]:
    """List the special tokens around a text, and None in its own place."""
    kind = None if spec is None else spec["type"]
    if spec is None or kind == "ByteLevel":
        return [None]
    if kind == "Sequence":
        found = [_template(inner) for inner in spec["processors"]]
        framing = [template for template in found if template != [None]]
        if len(framing) > 1:
            raise KeyError("post-processors that frame a text twice")
        return framing[0] if framing else [None]
    if kind in ("BertProcessing", "RobertaProcessing"):
        return [spec["cls"][0], None, spec["sep"][0]]
    if kind == "TemplateProcessing":
        return [part.get("SpecialToken", {}).get("id") for part in spec["single"]]
    raise KeyError(f"post-processor {kind}")


def _frame(tokens: Outputs, template: Sequence[str | None], bundle: Bundle) -> Outputs:
    """Truncate, and put the special tokens around every row."""
    tokenizer = bundle.tokenizer()
    room = bundle.manifest.max_length - special_tokens(bundle)
    tokens = node(
        "Truncate",
        [*tokens, constant(room), *string_constants("right"), *string_constants("longest_first")],
    )
    inputs: Outputs = []
    for special in template:
        if special is None:
            inputs += tokens
        else:
            inputs += [constant(0), constant(1), constant([tokenizer.token_to_id(special)])]
    return node("CombineSegments", [*inputs, constant([0] * len(template))])[:3]


def _pad(tokens: Outputs, bundle: Bundle) -> tuple[Any, Any]:
    """Pad every row to the longest: token ids and attention mask, i64 [N, tokens]."""
    begins, ends, ids = tokens
    width = ops.reduce_max(ops.subtract(ends, begins), constant(0))
    # Without special tokens, a text may have none at all.
    width = ops.maximum(width, constant(1)).output(0)
    dense, mask = node(
        "RaggedToDense",
        [begins, ends, ids, width, constant(pad_id(bundle))],
        pad_right=True,
        pad_max_length=False,
    )[:2]
    return ops.convert(dense, "i64").output(0), ops.convert(mask, "i64").output(0)
