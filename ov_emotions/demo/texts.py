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
        "Каждое слово по очереди убрано из текста, все варианты прочитаны моделью за один раз. "
        "Число — на сколько изменился логит эмоции (Li, Monroe, Jurafsky, 2016, "
        "arXiv:1612.08220). "
        "Слова, которые важны только вместе, так не видны. Текст длиннее {pieces} слов делится на "
        "отрезки по нескольку слов.",
        "Each word is left out in turn, and the model reads all variants in one batch. The "
        "number is the change of the emotion’s logit (Li, Monroe, Jurafsky, 2016, "
        "arXiv:1612.08220). Words that matter only together do not show. A text of more than "
        "{pieces} words is cut into runs of several.",
    ),
    # Many texts
    "files.title": ("Сразу много текстов", "Many texts at once"),
    "files.lead": (
        "Вставьте строки или загрузите файл. Строка, которую не прочитать, будет названа по "
        "номеру, остальные разобраны.",
        "Paste lines or upload a file. A row that cannot be read is named by its number; all "
        "others are done.",
    ),
    "files.paste.label": ("Строки, по тексту в каждой", "Lines, a text in each"),
    "files.paste.placeholder": ("первая реплика…", "первая реплика…"),
    "files.paste.run": ("Разобрать строки", "Classify the lines"),
    "files.upload.run": ("Выбрать файл", "Choose a file"),
    "files.upload.drop": (
        "или перетащите его сюда: .txt, .csv, .tsv, .xlsx, .jsonl, .parquet, .srt, .vtt, до 64 МБ",
        "or drop it here: .txt, .csv, .tsv, .xlsx, .jsonl, .parquet, .srt, .vtt, up to 64 MB",
    ),
    "files.stop": ("Остановить", "Stop"),
    "files.empty": (
        "Здесь появится таблица, а с ней CSV и JSONL для скачивания.",
        "The table will appear here, with CSV and JSONL to download.",
    ),
    "files.progress": ("Разобрано {done} из {total}", "{done} of {total} done"),
    "files.progress.name": ("Ход разбора", "Progress"),
    "files.done": ("Разобрано строк: {good}", "Rows classified: {good}"),
    "files.none_above": ("без эмоций выше порога", "nothing above a threshold"),
    "files.download": ("Скачать {kind}", "Download {kind}"),
    "files.bad": ("Пропущено строк: {bad}", "Rows left out: {bad}"),
    "files.bad.row": ("Строка {row}:", "Row {row}:"),
    "files.bad.more": ("и ещё {more}", "and {more} more"),
    "files.shown": ("Показано {shown} из {good}", "{shown} of {good} shown"),
    "files.column.row": ("№", "Row"),
    "files.column.text": ("Текст", "Text"),
    "files.column.labels": ("Эмоции", "Emotions"),
    "files.column.score": ("Сильнейшая", "Strongest"),
    "files.nothing": ("Строк нет", "There are no lines"),
    "files.nothing.hint": (
        "Вставьте хотя бы одну строку или выберите файл, в котором она есть.",
        "Paste at least one line, or choose a file that has one.",
    ),
    "files.which": ("В каком столбце «{name}» текст?", "Which column of “{name}” holds the text?"),
    "fail.file": ("Файл не читается", "The file cannot be read"),
    "fail.file.hint": (
        "Исправьте файл и выберите его снова.",
        "Mend the file and choose it again.",
    ),
    "fail.upload": ("Файл не загрузился", "The file did not arrive"),
    "fail.upload.hint": (
        "Возможно, он больше 64 МБ или формат не подходит. Разделите его или сохраните как CSV.",
        "It may be larger than 64 MB or of another format. Split it, or save it as CSV.",
    ),
    # Dialogues
    "dialogues.title": ("Как менялся разговор", "How the conversation went"),
    "dialogues.lead": (
        "Расшифровка со строками «Кто: что сказал» или таблица со столбцами speaker и text. Видно, "
        "когда настроение переломилось и когда стоило подключить другого оператора.",
        "A transcript with lines of “who: what they said”, or a table with the columns speaker and "
        "text. It shows when the mood turned, and when another operator should have stepped in.",
    ),
    "dialogues.label": ("Расшифровка", "Transcript"),
    "dialogues.placeholder": ("Клиент: …", "Клиент: …"),
    "dialogues.run": ("Разобрать диалог", "Analyse the dialogue"),
    "dialogues.example": ("Показать на примере", "Show an example"),
    "dialogues.empty": (
        "Здесь появятся кривые настроения и момент передачи.",
        "The curves of mood and the moment to hand over will appear here.",
    ),
    "dialogues.csv": ("Таблица CSV", "CSV table"),
    "dialogues.json": ("Всё в JSON", "All as JSON"),
    "dialogues.page.ru": ("Страница на русском", "Page in Russian"),
    "dialogues.page.en": ("Страница на английском", "Page in English"),
    "dialogues.none": ("Диалога не видно", "There is no dialogue"),
    "dialogues.none.hint": (
        "Нужны строки вида «Клиент: добрый день» или столбцы speaker и text.",
        "Lines such as “Клиент: добрый день” are needed, or the columns speaker and text.",
    ),
    # Two models
    "compare.title": ("Две модели рядом", "Two models side by side"),
    "compare.lead": (
        "Один текст, два ответа и время каждого.",
        "One text, two answers, and the time of each.",
    ),
    "compare.first": ("первая", "the first"),
    "compare.second": ("вторая", "the second"),
    "compare.label": ("Текст", "Text, in Russian"),
    "compare.choose.first": ("Первая модель", "First model"),
    "compare.choose.second": ("Вторая модель", "Second model"),
    "compare.run": ("Сравнить", "Compare"),
    "compare.empty": (
        "Здесь встанут рядом два ответа.",
        "Two answers will stand side by side here.",
    ),
    "compare.no_text": ("Сначала напишите текст", "Write a text first"),
    "compare.no_float": (
        "Чтобы сравнить с fp32, сделайте такую модель из чекпойнта и назовите её:",
        "To compare with fp32, make such a model of a checkpoint and name it:",
    ),
    "compare.latency": ("{median} мс ({low}–{high})", "{median} ms ({low}–{high})"),
    "compare.size": ("файлы модели {size} МБ", "model files {size} MB"),
    "compare.same": ("Найдены одни и те же эмоции", "Both find the same emotions"),
    "compare.differ": ("Ответы расходятся", "The answers differ"),
    "compare.gap": (
        "Дальше всего расходятся на «{name}»: {one} и {two}.",
        "They are furthest apart on “{name}”: {one} and {two}.",
    ),
    "compare.even": (
        "По времени различие в пределах шума.",
        "In time, the difference is within the noise.",
    ),
    "compare.faster": (
        "Быстрее {side}: в {times} раза по медиане.",
        "Quicker is {side}, {times} times by the median.",
    ),
    "compare.honest": (
        "Время — медиана (от и до) из {rounds} вызовов с одним этим текстом, модели по очереди, "
        "здесь и сейчас; всё, что ещё делает эта машина, тоже в нём. Для решений есть отчёт о "
        "квантовании.",
        "Times are medians (smallest to largest) of {rounds} calls with this one text, in turns, "
        "here and now; whatever else this machine does is in them. To decide, there is the "
        "quantization report.",
    ),
    # The model
    "model.title": ("Что за модель отвечает", "Which model answers"),
    "model.lead": (
        "Пороги, обучение и точность лежат в папке модели; страница их только показывает.",
        "Thresholds, training and accuracy are kept in the model’s folder; this page only shows "
        "them.",
    ),
    "model.facts": ("Модель", "Model"),
    "model.name": ("имя", "name"),
    "model.precision": ("точность чисел", "precision"),
    "model.base": ("основа", "encoder"),
    "model.licence": ("лицензия", "licence"),
    "model.normalizer": ("нормализация", "normaliser"),
    "model.length": ("окно", "window"),
    "model.tokens": ("{tokens} токенов", "{tokens} tokens"),
    "model.thresholds": ("Пороги", "Thresholds"),
    "model.figures": ("Точность на проверке", "Accuracy on held-out sets"),
    "model.figures.none": (
        "В папке модели нет цифр.",
        "The model’s folder holds no figures.",
    ),
    "model.split": ("набор", "set"),
    "model.weighted": ("F1, взвешенная", "F1, weighted"),
    "model.macro": ("F1, макро", "F1, macro"),
    "model.rows": ("строк", "rows"),
    "model.report": ("Отчёт о квантовании", "Quantization report"),
    "model.report.about": (
        "Какой рецепт INT8 выбран, что он стоит по точности и что даёт по скорости.",
        "Which INT8 recipe was chosen, what it costs in accuracy and gains in speed.",
    ),
    "model.report.open": ("Открыть отчёт", "Open the report"),
    "model.report.none": (
        "Отчёта здесь нет. Его пишет ov-emotions report, а показывает ov-emotions demo --report "
        "ПАПКА.",
        "There is no report here. ov-emotions report writes one, and ov-emotions demo --report "
        "FOLDER shows it.",
    ),
    # Failures
    "fail.title": ("Не получилось", "That did not work"),
    "fail.server": ("Сервер не отвечает", "The server does not answer"),
    "fail.server.hint": (
        "Проверьте, что команда ov-emotions demo ещё работает, и сеть до неё. Написанное на "
        "странице цело; как только сервер ответит, это сообщение исчезнет.",
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
    Words(
        "ну наконец то доехали я так рада вас всех видеть",
        "finally we’ve made it, so glad to see you all",
    ),
    Words(
        "сколько можно ждать третий раз звоню и никто ничего не делает",
        "how long must I wait, I call for the third time and nobody does a thing",
    ),
    Words(
        "ой а я и не знала что вы уже переехали",
        "oh, and I didn’t know that you had moved already",
    ),
    Words(
        "мне так страшно идти туда одной вечером",
        "I’m so afraid of going there alone at night",
    ),
    Words(
        "добрый день подскажите до которого часа вы работаете",
        "good afternoon, until what hour are you open",
    ),
)
"""Utterances to click: Russian, for the model knows Russian, and what they mean in English."""


def say(name: str, /, **values: object) -> str:
    """Give a sentence as markup in both languages.

    :param name: of the sentence.
    :param values: fill its places.
    :return: the markup.
    """
    return TEXTS[name].format(**values).html()
