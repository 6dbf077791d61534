"""What the library says in English about a file, in Russian too."""

from __future__ import annotations

import re
from pathlib import Path

from ov_emotions.demo.markup import Words

_ROWS = (
    (r"the text is missing", "текста нет"),
    (r"the text is NaN", "вместо текста NaN"),
    (r"the text is empty", "текст пуст"),
    (r"the text is not UTF-8", "текст не в UTF-8"),
    (
        r"the text is (?:true or false|a number|a list|an object), not a string",
        "значение не строка",
    ),
    (r"the line is longer than (\d+) MiB", r"строка длиннее \1 МиБ"),
    (r"the line is not UTF-8: byte (\w+) at (\d+)", r"строка не в UTF-8: байт \1 на месте \2"),
    (r"the row is too short to have a text", "в строке не хватает ячеек"),
    (r"the line is not JSON: .*", "строка не читается как JSON"),
    (r"the line is not a JSON object", "строка не объект JSON"),
    (r"there is no field '(.*)', only (.*)", r"нет поля «\1», есть только \2"),
    (r"the row has (\d+) cells, the header has (\d+)", r"ячеек в строке \1, а в заголовке \2"),
    (r"column '(.*)' is not UTF-8", r"столбец «\1» не в UTF-8"),
    (r"the line does not begin with a speaker", "строка не начинается с говорящего"),
    (r"the speaker is missing", "не сказано, кто говорит"),
    (r"the dialogue is missing", "не сказано, чей это диалог"),
    (r"the time .*", "время не читается"),
    (r"a value cannot be read", "значение не читается"),
    (r".* \(lines (\d+) to (\d+)\)", r"строки файла \1–\2 не читаются как CSV"),
    (r".* \(line (\d+)\)", r"строка файла \1 не читается как CSV: лишняя кавычка"),
)
_FILES = (
    (
        r"(.*) is of no known format.*",
        r"\1: такой формат не читается; годятся .txt, .csv, .tsv, .xlsx, .jsonl, .json, .parquet, "
        r".srt и .vtt",
    ),
    (
        r"(.*) is in none of the encodings.*",
        r"\1 не в UTF-8, UTF-16 или Windows-1251; сохраните файл в UTF-8",
    ),
    (r"(.*) is not a readable \.xlsx.*", r"\1 не читается как .xlsx: файл повреждён"),
    (r"(.*) is not JSON.*", r"\1 не читается как JSON"),
    (r"(.*) is neither a list of objects.*", r"\1: не список объектов и не запись распознавания"),
    (r"(.*) has no cue.*", r"в \1 нет ни одной реплики с временем"),
    (r"(.*) has a header that cannot be read.*", r"\1: не читается строка с названиями столбцов"),
    (r"(.*) has no column '(.*?)'.*", r"в \1 нет столбца «\2»"),
    (r"(.*) has more than one column (.*)", r"в \1 несколько столбцов \2"),
    (r"the column '(.*)' of (.*) holds .*, not strings", r"в столбце «\1» файла \2 не строки"),
    (r"(.*) is not a readable Parquet file.*", r"\1 не читается как Parquet: он повреждён"),
    (r"(.*) is damaged after row (\d+).*", r"\1 повреждён после строки \2"),
    (r"(.*) names no speaker.*", r"в \1 не видно говорящих: нужны строки вида «Клиент: алло»"),
    (r"(.*) is empty; a transcript .*", r"\1 пуст: нужны строки вида «Клиент: алло»"),
    (r"(.*) has no usable rows.*", r"в \1 нет ни одной пригодной строки"),
    (r"(.*) cannot be read.*", r"\1 не читается"),
)


def bad_row(reason: str) -> Words:
    """Say in both languages why a row was left out.

    :param reason: of a `BadRow`.
    :return: the reason; in English only where there is no Russian for it.
    """
    return Words(_russian(reason, _ROWS) or reason, reason)


def bad_file(error: Exception, path: Path, name: str) -> Words:
    """Say in both languages what is wrong with a file.

    :param error: what the library raised.
    :param path: where the file lies here, which is no business of the reader's.
    :param name: what the reader called it.
    :return: a sentence.
    """
    english = str(error).replace(str(path), name)
    return Words(_russian(english, _FILES) or english, english)


def _russian(text: str, forms: tuple[tuple[str, str], ...]) -> str | None:
    for pattern, russian in forms:
        if match := re.fullmatch(pattern, text, re.DOTALL):
            return match.expand(russian)
    return None
