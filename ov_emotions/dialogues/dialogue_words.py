"""What `words` says: English first, Russian second."""

from __future__ import annotations

from collections.abc import Mapping

WORDS: Mapping[str, tuple[str, str]] = {
    "about": ("Emotions in dialogues", "Эмоции в диалогах"),
    "skip": ("Skip to the dialogues", "К диалогам"),
    "title_many": (
        "{dialogues} dialogues: {upset} of {clients} clients upset",
        "Диалогов: {dialogues}. Расстроены {upset} из {clients} клиентов",
    ),
    "title_roleless": ("{dialogues} dialogues", "Диалогов: {dialogues}"),
    "lead_many": (
        "{calm} calm, {wavering} wavering, {upset} upset. In {handovers} of {dialogues} dialogues "
        "another operator should have taken over.",
        "Спокойны {calm}, колеблются {wavering}, расстроены {upset}. В {handovers} из {dialogues} "
        "диалогов разговор стоило передать другому оператору.",
    ),
    "lead_one": (
        "{speaker}: {share} of what they said is negative.",
        "{speaker}: доля негативных реплик {share}.",
    ),
    "undecided": (
        "Who is the client cannot be told in {count} of {dialogues} dialogues ({names}); name "
        "clients or operators, on the command line by --client NAME or --operator NAME. Without "
        "it there are no segment and no hand-over.",
        "Кто клиент, не ясно в {count} из {dialogues} диалогов ({names}); назовите клиентов или "
        "операторов, в командной строке --client ИМЯ или --operator ИМЯ. Без этого нет ни группы "
        "клиента, ни момента передачи.",
    ),
    "client": ("client", "клиент"),
    "operator": ("operator", "оператор"),
    "no_role": ("role unknown", "роль неизвестна"),
    "calm": ("calm", "спокоен"),
    "wavering": ("wavering", "колеблется"),
    "upset": ("upset", "расстроен"),
    "unknown": ("nothing readable", "нечего читать"),
    "unsure": ("{segment}?", "{segment}?"),
    "clients": ("Clients", "Клиенты"),
    "clients_plot": (
        "Share of negative utterances by client",
        "Доля негативных реплик по клиентам",
    ),
    "clients_caption": (
        "Share of a client's utterances with a negative emotion, with its {confidence:.0%} "
        "interval. Up to {calm} a client is calm, from {upset} on upset.",
        "Доля реплик клиента с негативной эмоцией и её интервал ({confidence:.0%}). До {calm} "
        "клиент спокоен, от {upset} расстроен.",
    ),
    "clients_more": (
        " The {shown} most negative of {all} are drawn; the table has all.",
        " Показаны {shown} самых негативных из {all}; в таблице все.",
    ),
    "clients_table": (
        "Clients, the most negative first; a question mark where the interval reaches into "
        "another segment",
        "Клиенты, самые негативные сверху; вопросительный знак, если интервал заходит в другую "
        "группу",
    ),
    "dialogues": ("Dialogues", "Диалоги"),
    "dialogues_table": (
        "All dialogues; the line shows how the client's negativity moves",
        "Все диалоги; линия показывает, как меняется негатив клиента",
    ),
    "dialogues_shown": (
        "Below are the {shown} most negative of {all} dialogues; JSON and CSV have all.",
        "Ниже {shown} самых негативных из {all} диалогов; в JSON и CSV есть все.",
    ),
    "name": ("name", "имя"),
    "dialogue": ("dialogue", "диалог"),
    "dialogue_count": ("dialogues", "диалогов"),
    "count": ("utterances", "реплик"),
    "negative": ("negative", "негатив"),
    "segment": ("segment", "группа"),
    "handovers": ("hand-overs", "передач"),
    "course": ("course", "ход"),
    "turning_points": ("turning points", "переломы"),
    "handover": ("hand over after", "передать после"),
    "speaker": ("speaker", "говорящий"),
    "role": ("role", "роль"),
    "curve": ("Negativity of {name}", "Негатив: {name}"),
    "curve_title": ("negativity", "негатив"),
    "decides": ("the model's threshold", "порог модели"),
    "utterance_axis": ("utterance", "реплика"),
    "curve_caption": (
        "Lines are smoothed over each speaker's utterances, bands are {confidence:.0%} intervals. "
        "At 0.5 a negative emotion reaches the model's threshold. Triangles are turning points.",
        "Линии сглажены по репликам говорящего, полосы — интервалы ({confidence:.0%}). На уровне "
        "0.5 негативная эмоция достигает порога модели. Треугольники — переломы.",
    ),
    "dots_caption": (
        "Dots are utterances, the larger the more words.",
        "Точки — реплики; чем крупнее, тем больше слов.",
    ),
    "curve_described": (
        "{name}: from {first} to {last}, highest {highest} at utterance {where}",
        "{name}: от {first} до {last}, выше всего {highest} на реплике {where}",
    ),
    "emotions_plot": ("Emotions of {name}", "Эмоции: {name}"),
    "emotions_caption": (
        "Smoothed probability of each emotion in what {name} says, with its {confidence:.0%} "
        "interval. Dashed: the emotion's threshold; at the right: the share of utterances that reach "
        "it. {hidden}",
        "Сглаженная вероятность каждой эмоции в репликах: {name}, с интервалом "
        "({confidence:.0%}). Пунктир — порог эмоции, справа — доля реплик, которые его достигают. "
        "{hidden}",
    ),
    "hidden": (
        "Not drawn, since no utterance reaches the threshold: {labels}.",
        "Не показаны, так как ни одна реплика не достигает порога: {labels}.",
    ),
    "shares_table": (
        "Share of utterances with each emotion, with {confidence:.0%} intervals",
        "Доля реплик с каждой эмоцией, с интервалами ({confidence:.0%})",
    ),
    "turn": (
        "{name} at utterance {position}{time}: negativity {before} → {after}, {label} {shift} "
        "(p = {p}).",
        "{name}, реплика {position}{time}: негатив {before} → {after}, {label} {shift} (p = {p}).",
    ),
    "worse": ("turn for the worse", "перелом к худшему"),
    "better": ("turn for the better", "перелом к лучшему"),
    "no_turns": ("No turning points.", "Переломов нет."),
    "handover_level": (
        "Hand over after utterance {position}{time}: {name}'s running negativity was at or above "
        "{cut:g} in {count} utterances in a row ({values}).",
        "Передать после реплики {position}{time}: текущий негатив ({name}) не ниже {cut:g} в "
        "{count} репликах подряд ({values}).",
    ),
    "handover_label": (
        "Hand over after utterance {position}{time}: {name} showed {label} of a strength of "
        "{cut:g} or more in {count} utterances in a row ({values}).",
        "Передать после реплики {position}{time}: {name}, {label} с силой не ниже {cut:g} в "
        "{count} репликах подряд ({values}).",
    ),
    "no_handover": ("No need to hand over.", "Передавать не нужно."),
    "no_client": (
        "Who is the client cannot be told, so no moment to hand over is given.",
        "Кто клиент, не ясно, поэтому момента передачи нет.",
    ),
    "handover_mark": ("hand over", "передать"),
    "speakers": ("The speakers in numbers", "Говорящие в числах"),
    "transcript": ("The dialogue in words", "Диалог словами"),
    "transcript_cut": (
        "The first {shown} of {all} utterances; JSON and CSV have all.",
        "Первые {shown} из {all} реплик; в JSON и CSV есть все.",
    ),
    "unread": ("nothing to read", "нечего читать"),
    "found_none": ("no emotion", "эмоций нет"),
    "method": ("How it was made", "Как это посчитано"),
    "method_settings": ("Settings and versions", "Настройки и версии"),
    "model": ("model", "модель"),
    "version": ("version", "версия"),
    "method_negativity": (
        "Negative are {labels}. An utterance's negativity is the highest strength of these: 0 for "
        "a probability of 0, 0.5 at the label's threshold, 1 for a probability of 1. Its weight is "
        "its number of words over {full_words}, at most 1.",
        "Негативные эмоции: {labels}. Негатив реплики — наибольшая их сила: 0 при вероятности 0, "
        "0.5 на пороге эмоции, 1 при вероятности 1. Вес реплики — число слов, делённое на "
        "{full_words}, но не больше 1.",
    ),
    "method_curves": (
        "Curves: Nadaraya–Watson smoothing with a Gaussian kernel over a speaker's own utterances "
        "(bandwidth {bandwidth}). Intervals: Wilson's, at Kish's effective sample size over the "
        "dispersion of a quasi-binomial model. They tell how few utterances there are, not how "
        "often the model errs.",
        "Кривые: сглаживание Надарая — Ватсона с гауссовым ядром по репликам говорящего (ширина "
        "{bandwidth}). Интервалы: Уилсона при эффективном объёме выборки по Кишу, делённом на "
        "дисперсию квазибиномиальной модели. Они говорят, как мало реплик, а не как часто "
        "ошибается модель.",
    ),
    "bandwidth_auto": (
        "2 utterances, or a fiftieth of theirs where that is more",
        "2 реплики, или пятидесятая часть всех, если это больше",
    ),
    "method_turns": (
        "Turning points: binary segmentation of the mean by a weighted CUSUM; kept where a "
        "permutation test of {permutations} orders gives p ≤ {alpha:g}, each side has "
        "{min_segment} utterances or more and the mean moves by {min_shift:g} or more. Where "
        "nothing changes, about {alpha:.0%} of speakers are given one all the same.",
        "Переломы: бинарная сегментация среднего по взвешенной статистике CUSUM; остаются те, где "
        "перестановочный тест ({permutations} порядков) даёт p ≤ {alpha:g}, с каждой стороны не "
        "меньше {min_segment} реплик, а среднее сдвигается хотя бы на {min_shift:g}. Где ничего не "
        "меняется, перелом всё же найдётся примерно у {alpha:.0%} говорящих.",
    ),
    "method_handover": (
        "Hand-over: the client's running negativity (half-life {half_life:g} utterances) at or "
        "above {handover_level:g} in {handover_run} utterances in a row, or {label} of a strength "
        "of {handover_strength:g} or more in {handover_repeats} in a row; utterances of fewer than "
        "{handover_words} words neither count nor break a row. The rule sees nothing that was said "
        "later.",
        "Передача: текущий негатив клиента (период полураспада {half_life:g} реплики) не ниже "
        "{handover_level:g} в {handover_run} репликах подряд, или {label} с силой не ниже "
        "{handover_strength:g} в {handover_repeats} подряд; реплики короче {handover_words} слов "
        "не считаются и не прерывают ряд. Правило не видит того, что сказано позже.",
    ),
}
