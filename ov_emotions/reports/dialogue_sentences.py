"""What an analysis of dialogues comes to, in a manager's words, for the page, demo and terminal.

Strength is one scale everywhere: 0 is a probability of 0, 0.5 the label's threshold, where the
model decides, and 1 a probability of 1. Shares are of utterances, in per cent.
"""

from __future__ import annotations

from collections import Counter
from typing import Literal

import numpy as np

from ov_emotions.dialogues.analysis import strength
from ov_emotions.dialogues.curves import Array
from ov_emotions.dialogues.results import (
    Analysis,
    Client,
    DialogueAnalysis,
    ScoredUtterance,
    SpeakerAnalysis,
    TurningPoint,
)
from ov_emotions.reports.language import Language
from ov_emotions.texts.transcripts import clock

Mood = Literal["calm", "wavering", "upset"]
_BLOCKS = "▁▂▃▄▅▆▇█"
_ROLES = {"client": ("client", "клиент"), "operator": ("operator", "оператор")}
_GROUPS = {
    "calm": ("calm", "спокойные"),
    "wavering": ("wavering", "на грани"),
    "upset": ("upset", "расстроенные"),
    "unknown": ("nothing readable", "нечего читать"),
}


def main_speaker(dialogue: DialogueAnalysis) -> SpeakerAnalysis:
    """Return whom a dialogue is about: its first client, or else its most negative speaker."""
    if dialogue.clients:
        return dialogue.clients[0]
    return max(dialogue.speakers, key=lambda speaker: speaker.negative.value or 0.0)


def role_name(speaker: SpeakerAnalysis, say: Language) -> str:
    """Name a speaker's role."""
    return say(*_ROLES.get(speaker.role or "", ("role unknown", "роль неизвестна")))


def segment_name(client: Client, say: Language) -> str:
    """Name a client's group; «скорее» where the interval reaches into another one."""
    name = say(*_GROUPS[client.segment])
    sure = client.sure or client.segment == "unknown"
    return name if sure else say("rather {}", "скорее {}").format(name)


def at(dialogue: DialogueAnalysis, position: int, say: Language) -> str:
    """Say where an utterance stands: `utterance 8 (0:47)`, «реплики 8 (0:47)»."""
    time = dialogue.utterances[position].utterance.time
    told = "" if time is None or time < 0 else f" ({clock(time)})"
    return say("utterance", "реплики") + f"\N{NO-BREAK SPACE}{position + 1}{told}"


def label_strengths(analysis: Analysis, one: ScoredUtterance) -> list[tuple[str, float]]:
    """Give the labels that an utterance was given, the most probable first, with strengths."""
    found = []
    for label in one.labels:
        probability = np.array(one.probabilities[analysis.labels.index(label)])
        level = strength(probability, np.array(analysis.thresholds[label]))
        found.append((label, float(level)))
    return found


def handover_sentence(analysis: Analysis, dialogue: DialogueAnalysis, say: Language) -> str:
    """Say when to hand over and why, or that there is no need."""
    handover, settings = dialogue.handover, analysis.settings
    if handover is None:
        if dialogue.clients:
            return say(
                "No need to hand over to another operator.",
                "Передавать другому оператору не нужно.",
            )
        return say(
            "Who is the client cannot be told, so no moment to hand over is given.",
            "Кто клиент, неясно, поэтому момент передачи не определён.",
        )
    if handover.rule == "level":
        why = say(
            "Hand over after {where}. {name}: running negativity of {cut} or more in {count} in a "
            "row ({values}).",
            "Передать другому оператору после {where}. {name}: накопленный негатив не ниже {cut} "
            "на протяжении {count} подряд ({values}).",
        )
        cut, forms = settings.handover_level, "реплики|реплик|реплик"
    else:
        why = say(
            "Hand over after {where}. {name}: “{label}” of strength {cut} or more in {count} in a "
            "row ({values}).",
            "Передать другому оператору после {where}. {name}: эмоция «{label}» силой не ниже "
            "{cut} в {count} подряд ({values}).",
        )
        cut, forms = settings.handover_strength, "реплике|репликах|репликах"
    return why.format(
        where=at(dialogue, handover.position, say),
        name=dialogue.utterances[handover.position].utterance.speaker,
        label=analysis.label_name(settings.handover_label, say.code),
        cut=say.number(cut, 2),
        count=say.count(len(handover.positions), "utterance|utterances", forms),
        values="; ".join(say.number(value, 2) for value in handover.values),
    )


def turn_sentences(analysis: Analysis, dialogue: DialogueAnalysis, say: Language) -> list[str]:
    """Say where moods change: what changed, for better or worse, and how sure that is."""
    found = [(point, speaker) for speaker in dialogue.speakers for point in speaker.turning_points]
    found.sort(key=lambda pair: pair[0].position)
    return [_turn(analysis, dialogue, point, speaker, say) for point, speaker in found]


def _turn(
    analysis: Analysis,
    dialogue: DialogueAnalysis,
    point: TurningPoint,
    speaker: SpeakerAnalysis,
    say: Language,
) -> str:
    shift = abs(point.after - point.before)
    size = 2 if shift >= 0.4 else 1 if shift >= 0.25 else 0
    sure = say("This is probably not chance", "Вероятно, это не случайность")
    if point.p_value <= 0.01:
        sure = say("This is almost certainly not chance", "Это почти наверняка не случайность")
    return say(
        "{name}: from {where} on the mood is {adverb} {way}. Negativity went from {before} to "
        "{after}; “{label}” changed most. {sure} (p = {p}).",
        "{name}: с {where} настроение {adverb} {way}. Негатив изменился с {before} до {after}, "
        "сильнее всего — эмоция «{label}». {sure} (p = {p}).",
        name=speaker.name,
        where=at(dialogue, point.position, say),
        adverb=say.names("a little|clearly|much", "немного|заметно|резко")[size],
        way=say("worse", "хуже") if point.worse else say("better", "лучше"),
        before=say.number(point.before, 2),
        after=say.number(point.after, 2),
        label=analysis.label_name(point.label, say.code),
        sure=sure,
        p=say.number(point.p_value, 3),
    )


def verdict(analysis: Analysis, dialogue: DialogueAnalysis, say: Language) -> tuple[Mood, str]:
    """Say in one sentence how a dialogue went; its mood comes first."""
    if dialogue.handover is not None:
        where = at(dialogue, dialogue.handover.position, say)
        told = say("Another operator was needed after {}", "Другой оператор был нужен после {}")
        return "upset", told.format(where)
    speaker = main_speaker(dialogue)
    who, share = speaker.name, speaker.negative
    if share.value is None:
        return "calm", say("Nothing that could be read", "Прочесть нечего")
    if speaker.turning_points:
        last = speaker.turning_points[-1]
        where = at(dialogue, last.position, say)
        if last.worse:
            told = say("{}: the mood got worse from {} on", "{}: настроение ухудшилось с {}")
            return "wavering", told.format(who, where)
        told = say("{}: the mood got better from {} on", "{}: настроение улучшилось с {}")
        return "calm", told.format(who, where)
    calm, upset = analysis.cuts
    if share.low >= upset:
        told = say("{}: upset throughout", "{}: негатив на протяжении всего разговора", who)
        return "upset", told
    if share.value <= calm:
        return "calm", say("{}: an even conversation", "{}: ровный разговор", who)
    return "wavering", say("{}: negative now and then", "{}: временами негатив", who)


def share_sentence(analysis: Analysis, speaker: SpeakerAnalysis, say: Language) -> str:
    """Say how much of what a speaker said is negative, and what it is too little for."""
    share = speaker.negative
    if share.value is None:
        return say("{}: nothing that could be read.", "{}: прочесть нечего.", speaker.name)
    told = say(
        "{name}: {share} of {count} negative; the {confidence} interval is {low}–{high}.",
        "{name}: негативны {share} из {count}, интервал {confidence} — от {low} до {high}.",
        name=speaker.name,
        share=say.percent(share.value),
        count=say.count(share.count, "utterance is|utterances are", "реплики|реплик|реплик"),
        confidence=say.percent(analysis.settings.confidence),
        low=say.percent(share.low),
        high=say.percent(share.high),
    )
    if any(share.low < cut < share.high for cut in analysis.cuts):
        told += say(
            " That is too little to say for certain how upset they were.",
            " Реплик мало, чтобы уверенно судить о настроении.",
        )
    return told


def tipping(dialogue: DialogueAnalysis) -> int | None:
    """Find the utterance that tipped a dialogue; None if nothing could be read.

    It is the one after which to hand over, else the first one after the last turn for the worse,
    else the most negative one of whom the dialogue is about.
    """
    if dialogue.handover is not None:
        return dialogue.handover.position
    speaker = main_speaker(dialogue)
    worse = [point.position for point in speaker.turning_points if point.worse]
    if worse:
        return worse[-1]
    read = [p for p in speaker.positions if dialogue.utterances[p].weight]
    return max(read, key=lambda p: dialogue.utterances[p].negativity, default=None)


def headline(analysis: Analysis, say: Language) -> tuple[str, str]:
    """Say what was found: a sentence for the title, and what stands under it.

    A client whose group is not sure is in no count but that of the doubtful.
    """
    dialogues, clients = analysis.dialogues, analysis.clients
    if len(dialogues) == 1:
        speaker = main_speaker(dialogues[0])
        return verdict(analysis, dialogues[0], say)[1], share_sentence(analysis, speaker, say)
    if not clients:
        counted = say.count(len(dialogues), "dialogue|dialogues", "диалог|диалога|диалогов")
        return counted + say(": who is the client cannot be told", ": кто клиент, неясно"), ""
    handed = sum(dialogue.handover is not None for dialogue in dialogues)
    title = say(
        "{handed} of {count} dialogues needed another operator",
        "В {handed} из {count} был нужен другой оператор",
    )
    if not handed:
        title = say(
            "None of {count} dialogues needed another operator",
            "Ни в одном из {count} другой оператор не понадобился",
        )
    sure = Counter(client.segment for client in clients if client.sure)
    told = say(
        "Of {clients}, {upset} certainly upset, {calm} calm and {wavering} in between.",
        "Из {clients} можно уверенно назвать расстроенными {upset}, спокойными {calm}, "
        "колеблющимися {wavering}.",
        clients=say.count(len(clients), "client|clients", "клиента|клиентов|клиентов"),
        upset=say.count(sure["upset"], "is|are", ""),
        calm=say.count(sure["calm"]),
        wavering=say.count(sure["wavering"]),
    )
    if doubtful := len(clients) - sum(sure.values()):
        told += say(
            " For {} of them too little was said to tell.",
            " О {} по сказанному судить рано.",
            say.count(doubtful, "", "клиенте|клиентах|клиентах"),
        )
    count = say.count(len(dialogues), "", "диалога|диалогов|диалогов")
    return title.format(handed=say.count(handed), count=count), told


def thinned(values: Array, most: int) -> Array:
    """Make a long course short by means of neighbours: shape (n, ...) to (min(n, most), ...)."""
    if len(values) <= most:
        return values
    edges = np.linspace(0, len(values), most + 1).astype(int)
    sums = np.add.reduceat(values, edges[:-1], axis=0)
    widths = np.diff(edges).reshape(-1, *(1 for _ in values.shape[1:]))
    means: Array = sums / widths
    return means


def sparkline(speaker: SpeakerAnalysis, width: int = 24) -> str:
    """Draw a speaker's smoothed negativity with at most so many block characters.

    A space stands where nothing readable is near.
    """
    levels = thinned(speaker.negativity.level, width).tolist()
    top = len(_BLOCKS)
    return "".join(
        " " if level != level else _BLOCKS[min(int(level * top), top - 1)] for level in levels
    )
