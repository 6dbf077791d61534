"""Texts to measure with where the user names none: as long as utterances of speech are."""

from __future__ import annotations

import random

_SENTENCES = (
    "да",
    "алло",
    "нет не надо",
    "ну ладно",
    "спасибо большое",
    "я вас не слышу",
    "подождите минуту пожалуйста",
    "мне очень жаль что так вышло",
    "когда привезут мой заказ",
    "я звоню уже третий раз за неделю",
    "никто не может объяснить что случилось",
    "мы очень рады что всё получилось",
    "посылка пришла вовремя и ничего не разбилось",
    "я боюсь что деньги спишут ещё раз",
    "мастер обещал прийти утром а пришёл только вечером",
    "скажите пожалуйста можно ли перенести встречу на понедельник",
    "у меня второй день не работает интернет и это просто невыносимо",
    "ничего себе я совсем не ожидал что вы так быстро ответите",
    "вчера мы с дочкой ходили в парк кормили уток и ели мороженое",
    "в магазине мне продали просроченное молоко и отказались вернуть деньги",
)


def sample_texts(count: int, seed: int = 0) -> list[str]:
    """Make texts of one to four sentences; their words say nothing, their lengths do.

    :param count: how many.
    :param seed: the same seed gives the same texts.
    :return: the texts.
    """
    generator = random.Random(seed)
    return [
        " ".join(generator.choices(_SENTENCES, k=generator.choice((1, 1, 2, 2, 3, 4))))
        for _ in range(count)
    ]
