"""Small raw sets in the formats of the real ones, whose words give the labels away."""

from __future__ import annotations

import csv
import random
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from ov_emotions.labels import CEDR, EKMAN, GOEMOTIONS, IZARD

TELLING = {
    "anger": "злюсь",
    "disgust": "мерзость",
    "fear": "боюсь",
    "joy": "радость",
    "sadness": "грущу",
    "surprise": "неужели",
    "neutral": "обычно",
}
FILLERS = [
    "утро", "вечер", "дорога", "стол", "окно", "поезд", "книга", "город", "река", "лампа", "трава",
    "чашка", "школа", "работа", "магазин", "письмо", "музыка", "дождь", "снег", "ветер", "парк",
    "улица", "дверь", "ключ", "карта", "билет", "номер", "песня", "фильм", "обед",
]  # fmt: skip
FILES = {
    "ru_goemotions/train_partial.csv": ("ru_text", "text", "labels", "id", "source"),
    "ru_goemotions/validation.csv": ("ru_text", "text", "labels", "id"),
    "ru_goemotions/test.csv": ("ru_text", "text", "labels", "id"),
    "brighter_rus/train.csv": ("id", "text", *EKMAN.labels[:6]),
    "cedr/cedr-main-train.csv": ("text", "labels", "source"),
    "cedr/cedr-main-test.csv": ("text", "labels", "source"),
    "ru_izard/train_clean.csv": ("text", *IZARD.labels),
}

Row = tuple[str, tuple[str, ...]]


def write_csv(path: Path, header: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(header)
        writer.writerows(rows)


def write_set(folder: Path, name: str, rows: Sequence[Row]) -> None:
    """Write one file of `FILES`; a row is a text and its labels among the seven classes."""
    cells: list[list[object]] = []
    for i, (text, labels) in enumerate(rows):
        if name.startswith("ru_goemotions"):
            # Real files write several indices the way numpy prints them: [ 4 27].
            indices = " ".join(str(GOEMOTIONS.index(label)) for label in labels)
            cells.append([text, "english", f"[{indices}]", f"id{i}", "x"][: len(FILES[name])])
        elif name.startswith("brighter"):
            cells.append([f"id{i}", text, *(int(x in labels) for x in EKMAN.labels[:6])])
        elif name.startswith("cedr"):
            known = [str(CEDR.index(label)) for label in labels if label in CEDR.labels]
            cells.append([text, f"[{' '.join(known)}]", "lj"])
        else:
            cells.append([text, *(int(x in labels) for x in IZARD.labels)])
    write_csv(folder / name, FILES[name], cells)


def telling_rows(count: int, seed: int, words: Mapping[str, str] = TELLING) -> list[Row]:
    """Draw texts of five to nine words, one or two of which name a label."""
    draw = random.Random(seed)
    rows = []
    for _ in range(count):
        labels = tuple(draw.sample(list(words), draw.choice((1, 1, 2))))
        text = draw.sample(FILLERS, draw.randint(4, 7)) + [words[label] for label in labels]
        draw.shuffle(text)
        rows.append((" ".join(text), labels))
    return rows


def write_raw(folder: Path, sizes: Mapping[str, int]) -> None:
    """Write every raw set; `sizes` says how many rows each file has."""
    for seed, name in enumerate(FILES):
        write_set(folder, name, telling_rows(sizes[name], seed))
