"""Every sentence of the page, in Russian and in English."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from ov_emotions.demo.markup import Words

_TEXTS: dict[str, tuple[str, str]] = {
    # The frame
    "brand": ("ov·emotions", "ov·emotions"),
    "skip": ("К содержанию", "Skip to the content"),
    "nav": ("Разделы", "Sections"),
    "view.text": ("Текст", "Text"),
    "view.files": ("Файлы", "Files"),
    "view.dialogues": ("Диалоги", "Dialogues"),
    "view.compare": ("Сравнение", "Compare"),
    "view.model": ("Модель", "Model"),
    "theme.dark": ("Тёмная тема", "Dark theme"),
    "theme.light": ("Светлая тема", "Light theme"),
    "loading": ("Загружается…", "Loading…"),
    "footer": (
        "Считает этот сервер, на процессоре. Тексты не сохраняются и никуда не передаются.",
        "Computed by this server, on its processor. Texts are neither kept nor passed on.",
    ),
    "footer.api": ("Программам: описание API", "For programs: the API"),
    # One text
    "text.title": ("Что слышно в этих словах?", "What do these words carry?"),
    "text.lead": (
        "Напишите реплику или вставьте распознанную речь. Знаки и заглавные буквы не нужны, эмоций "
        "может быть несколько.",
        "Write an utterance in Russian, or paste what speech recognition heard. Punctuation and "
        "capitals are not needed; there may be several emotions.",
    ),
    "text.label": ("Текст", "Text, in Russian"),
    "text.placeholder": ("ну наконец то доехали…", "ну наконец то доехали…"),
    "text.examples": ("Или возьмите готовую реплику", "Or take one of these"),
    "text.empty": (
        "Здесь появятся эмоции и слова, которые на них повлияли.",
        "The emotions will appear here, with the words that moved them.",
    ),
    "result.title": ("Эмоции", "Emotions"),
    "result.found": ("{names}", "{names}"),
    "result.none": ("Ни одна эмоция не дошла до порога", "No emotion reached its threshold"),
    "result.none.hint": (
        "Это тоже ответ, и он не равен «нейтрально»: ближе всего {name}, {value} при пороге {cut}.",
        "That is an answer too, and not the same as neutral: the nearest is {name}, {value} with a "
        "threshold of {cut}.",
    ),
    "result.unread": (
        "Здесь нечего читать: ни одной буквы или цифры",
        "There is nothing to read here: not a letter or digit",
    ),
    "bars.threshold": ("порог {cut}", "threshold {cut}"),
    "bars.above": ("найдено", "found"),
    "bars.below": ("ниже порога", "below its threshold"),
    "bars.note": (
        "Черта на полосе — порог, у каждой эмоции он свой и хранится в модели. Выберите эмоцию, "
        "чтобы увидеть её слова.",
        "The mark on a bar is the threshold, which each emotion has of its own and the model "
        "keeps. Choose an emotion to see its words.",
    ),
    "words.title": ("Слова, которые повлияли на «{name}»", "Words that moved “{name}”"),
    "words.for": ("говорит за", "speaks for it"),
    "words.against": ("говорит против", "speaks against it"),
    "words.for.list": ("За: {words}", "For: {words}"),
    "words.against.list": ("Против: {words}", "Against: {words}"),
    "words.even": (
        "Ни одно слово в отдельности не меняет ответа заметно.",
        "No single word changes the answer noticeably.",
    ),
    "words.one": (
        "Слово одно, сравнить его не с чем.",
        "There is one word only, and nothing to compare it with.",
    ),
    "words.many": (
        "Текст длиннее {limit} слов: эмоции найдены, отдельные слова не разбираются.",
        "The text has more than {limit} words: emotions are found, single words are not examined.",
    ),
    "words.method": (
        "Как это посчитано",
        "How this is computed",
    ),
    "words.method.text": (
        "Каждое слово по очереди убрано из текста, и все варианты прочитаны моделью за один проход. "
        "Число — на сколько изменился логит эмоции (Li, Monroe, Jurafsky, 2016, arXiv:1612.08220). "
        "Слова, которые важны только вместе, так не видны. Текст длиннее {pieces} слов делится на "
        "отрезки по нескольку слов.",
        "Each word is left out in turn, and the model reads all variants in one batch. The number "
        "is the change of the emotion’s logit (Li, Monroe, Jurafsky, 2016, arXiv:1612.08220). Words "
        "that matter only together do not show. A text of more than {pieces} words is cut into "
        "runs of several.",
    ),
    # Failures
    "fail.title": ("Не получилось", "That did not work"),
    "fail.server": ("Сервер не отвечает", "The server does not answer"),
    "fail.server.hint": (
        "Проверьте, что команда ov-emotions demo ещё работает, и сеть до неё. Написанное на странице "
        "цело; как только сервер ответит, это сообщение исчезнет.",
        "Check that the command ov-emotions demo still runs, and the network to it. What you wrote "
        "on this page is safe; this message goes away as soon as the server answers.",
    ),
    "fail.server.back": (
        "Сервер снова отвечает. Если он был перезапущен, обновите страницу.",
        "The server answers again. If it was restarted, reload the page.",
    ),
    "fail.reload": ("Обновить страницу", "Reload the page"),
    "fail.retry": ("Проверить сейчас", "Check now"),
    "fail.model": ("Модель не справилась", "The model failed"),
    "fail.model.hint": (
        "Попробуйте ещё раз. Если не поможет, перезапустите ov-emotions demo: подробности — в его "
        "журнале.",
        "Try again. If that does not help, restart ov-emotions demo: its log has the details.",
    ),
    "fail.details": ("Подробности", "Details"),
    "fail.long": (
        "Текст длиннее {limit} знаков; возьмите часть или загрузите его файлом.",
        "The text has more than {limit} characters; take a part, or upload it as a file.",
    ),
}

TEXTS: Mapping[str, Words] = MappingProxyType({k: Words(*both) for k, both in _TEXTS.items()})
"""By name; places to fill are in braces and are the same in both languages."""

EXAMPLES: tuple[Words, ...] = (
    Words("ну наконец то доехали я так рада вас всех видеть", "finally we’ve made it, so glad to see you all"),
    Words("сколько можно ждать третий раз звоню и никто ничего не делает", "how long must I wait, I call a third time and nobody does a thing"),
    Words("ой а я и не знала что вы уже переехали", "oh, and I didn’t know that you had moved already"),
    Words("мне так страшно идти туда одной вечером", "I’m so afraid of going there alone at night"),
    Words("добрый день подскажите до которого часа вы работаете", "good afternoon, until what hour are you open"),
)
"""Utterances to click: Russian, for the model knows Russian, and what they mean in English."""


def say(name: str, /, **values: object) -> str:
    """Give a sentence as markup in both languages.

    :param name: of the sentence.
    :param values: fill its places.
    :return: the markup.
    """
    return TEXTS[name].format(**values).html()
