"""The normaliser for speech-recognition transcripts, as a part of the tokeniser.

It is a `tokenizers` normaliser, stored in tokenizer.json, so that training, calibration,
classification and a served graph read every text in the same way. A change of its rules is a new
version; a bundle names the version it was trained with.

Rules of version `asr-1`, in order:

1. NFKC, then lower case;
2. markup out: links up to the next space or line end, bracketed placeholders such as [name], tags
   such as <username>, @mentions;
3. combining marks that NFKC could not compose (stress accents, say) and invisible format
   characters are deleted, so that the word around them stays whole;
4. everything that is neither letter nor digit becomes a space: punctuation, emoji, symbols;
5. runs of spaces become one, and the ends are stripped.

Digits and the letter «ё» are kept.
"""

from __future__ import annotations

from functools import cache

from tokenizers import Regex, normalizers

NORMALIZER_VERSION = "asr-1"

NO_NORMALIZER = "none"
"""What a bundle names whose own tokeniser does all that is done to a text."""


def build_normalizer() -> normalizers.Normalizer:
    """Build the current normaliser, to be set on a `tokenizers.Tokenizer`."""
    return normalizers.Sequence(
        [
            normalizers.NFKC(),
            normalizers.Lowercase(),
            # Categories, because \s differs between regex engines. "Owww..." is no link.
            normalizers.Replace(Regex(r"(?:https?://|(?<![\p{L}\p{N}])www\.)[^\p{Z}\p{Cc}]+"), " "),
            normalizers.Replace(Regex(r"\[[\p{L}_ ]{1,24}\]|</?[\p{L}]{1,24} ?/?>|@\w+"), " "),
            normalizers.Replace(Regex(r"[\p{M}\p{Cf}]+"), ""),
            normalizers.Replace(Regex(r"[^\p{L}\p{N}]+"), " "),
            normalizers.Strip(),
        ]
    )


@cache
def _normalizer() -> normalizers.Normalizer:
    return build_normalizer()


def normalize(text: str) -> str:
    """Normalise one text by the current version's rules; what is left may be empty."""
    return str(_normalizer().normalize_str(replace_surrogates(text)))


def replace_surrogates(text: str) -> str:
    """Make a string encodable as UTF-8.

    Python strings can hold halves of surrogate pairs (from broken JSON escapes, say), which UTF-8
    cannot. Whole pairs become their character, lone halves U+FFFD, which the normaliser drops.
    """
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text
