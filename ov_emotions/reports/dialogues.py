"""Dialogues as one HTML page that needs nothing else."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass

import ov_emotions
from ov_emotions.dialogues.curves import Share
from ov_emotions.dialogues.results import Analysis, DialogueAnalysis, SpeakerAnalysis
from ov_emotions.reports.dialogue_plots import (
    MOST_DOTS,
    drawn_labels,
    emotions_figure,
    look_of,
    negativity_figure,
)
from ov_emotions.reports.dialogue_sentences import (
    Mood,
    handover_sentence,
    headline,
    label_strengths,
    main_speaker,
    role_name,
    segment_name,
    share_sentence,
    sparkline,
    tipping,
    turn_sentences,
    verdict,
)
from ov_emotions.reports.language import NONE, Language
from ov_emotions.reports.page import Cell, Table, asset, figure, render, table
from ov_emotions.texts.transcripts import clock

MOST_DIALOGUES = 300
"""Dialogues that a page can open; the table has all."""

MOST_UTTERANCES = 1000
"""Utterances of a dialogue that the page writes out."""

_FIRST = 5  # dialogues to look at before all others


@dataclass(frozen=True)
class Event:
    """What happens at an utterance.

    :param look: worse or better.
    """

    look: str
    text: str


@dataclass(frozen=True)
class Said:
    """An utterance as the transcript shows it.

    :param look: class of the speaker's colour.
    :param chips: what was felt, and whether that is negative.
    """

    number: int
    speaker: str
    look: str
    time: str
    text: str
    chips: tuple[tuple[str, bool], ...]
    events: tuple[Event, ...]


@dataclass(frozen=True)
class Shown:
    """A dialogue as the page shows it.

    :param number: in the order of urgency, from 1; ids are made of it.
    :param prefix: of ids, where a page holds it twice.
    """

    analysis: Analysis
    dialogue: DialogueAnalysis
    number: int
    say: Language
    prefix: str = ""

    @property
    def id(self) -> str:
        """Unique in the page."""
        return f"{self.prefix}dialogue-{self.number}"

    @property
    def name(self) -> str:
        """Its name."""
        return self.dialogue.name

    @property
    def mood(self) -> Mood:
        """How it went, for its colour."""
        return verdict(self.analysis, self.dialogue, self.say)[0]

    @property
    def verdict(self) -> str:
        """How it went, in a sentence."""
        return verdict(self.analysis, self.dialogue, self.say)[1]

    @property
    def speaker(self) -> SpeakerAnalysis:
        """Whom it is about."""
        return main_speaker(self.dialogue)

    @property
    def tipped(self) -> Said | None:
        """The utterance that tipped it."""
        position = tipping(self.dialogue)
        return None if position is None else self._said(position, {}, look_of(self.dialogue))

    @property
    def turning_points(self) -> int:
        """How many there are, of all speakers."""
        return sum(len(speaker.turning_points) for speaker in self.dialogue.speakers)

    def sentences(self) -> list[str]:
        """Say when to hand over and where moods change."""
        found = turn_sentences(self.analysis, self.dialogue, self.say)
        none = self.say("No lasting change of mood.", "Устойчивых перемен настроения нет.")
        return [handover_sentence(self.analysis, self.dialogue, self.say), *(found or [none])]

    def share(self) -> str:
        """Say how much is negative."""
        return share_sentence(self.analysis, self.speaker, self.say)

    def curve(self) -> str:
        """Draw the negativity of everybody."""
        return negativity_figure(
            self.dialogue, name=f"{self.id}-negativity", language=self.say.code
        )

    def emotions(self) -> Iterator[tuple[str, str]]:
        """Draw the emotions of each speaker that has some: name and image."""
        clients_first = sorted(self.dialogue.speakers, key=lambda one: one.role != "client")
        for i, speaker in enumerate(clients_first):
            name = f"{self.id}-emotions-{i}"
            drawn = emotions_figure(self.analysis, speaker, name=name, language=self.say.code)
            if drawn:
                yield speaker.name, drawn

    def hidden(self) -> str:
        """Name the labels that nobody reaches."""
        drawn = {x for s in self.dialogue.speakers for x in drawn_labels(self.analysis, s)}
        rest = [x for x in self.analysis.labels if x not in drawn]
        return ", ".join(self.analysis.label_name(label, self.say.code) for label in rest)

    def talk(self) -> Iterator[Said]:
        """Give what was said, as far as it is written out."""
        looks, marked = look_of(self.dialogue), self._events()
        for position in range(min(len(self.dialogue.utterances), MOST_UTTERANCES)):
            yield self._said(position, marked, looks)

    def _events(self) -> dict[int, list[Event]]:
        found: dict[int, list[Event]] = {}
        for speaker in self.dialogue.speakers:
            for point in speaker.turning_points:
                told = (
                    self.say("the mood turns for the worse", "перелом к худшему")
                    if point.worse
                    else self.say("the mood turns for the better", "перелом к лучшему")
                )
                look = "worse" if point.worse else "better"
                found.setdefault(point.position, []).append(Event(look, told))
        if self.dialogue.handover is not None:
            told = self.say("hand over to another operator", "передать другому оператору")
            found.setdefault(self.dialogue.handover.position, []).append(Event("worse", told))
        return found

    def _said(self, position: int, marked: dict[int, list[Event]], looks: dict[str, str]) -> Said:
        one = self.dialogue.utterances[position]
        said = one.utterance
        chips = [
            (
                f"{self.analysis.label_name(label, self.say.code)}\N{NO-BREAK SPACE}"
                f"{self.say.number(level, 2)}",
                label in self.analysis.negative_labels,
            )
            for label, level in label_strengths(self.analysis, one)
        ]
        if not one.weight:
            chips = [(self.say("nothing to read", "нечего читать"), False)]
        time = "" if said.time is None or said.time < 0 else clock(said.time)
        return Said(
            position + 1,
            said.speaker,
            looks[said.speaker],
            time,
            said.text,
            tuple(chips),
            tuple(marked.get(position, ())),
        )

    def cut(self) -> bool:
        """Tell whether what was said is not written out to its end."""
        return len(self.dialogue.utterances) > MOST_UTTERANCES

    def dotted(self) -> bool:
        """Tell whether each utterance is drawn."""
        return len(self.dialogue.utterances) <= MOST_DOTS

    def shares(self) -> Table | None:
        """List the speakers with the share of each emotion."""
        say, labels = self.say, self.analysis.labels
        rows: list[tuple[str | Cell, ...]] = [
            (
                speaker.name,
                role_name(speaker, say),
                figure(say.count, speaker.negative.count),
                _share(speaker.negative, say),
                *(_share(speaker.shares[label], say) for label in labels),
            )
            for speaker in self.dialogue.speakers
        ]
        head = say.names("speaker|role|utterances|negative", "говорящий|роль|реплик|негатив")
        head += [self.analysis.label_name(label, say.code) for label in labels]
        caption = say(
            "Share of utterances with each emotion, with {} intervals",
            "Доля реплик с каждой эмоцией, с интервалами {}",
            say.percent(self.analysis.settings.confidence),
        )
        return table(f"{self.id}-shares", caption, head, rows, texts=2)


def _share(share: Share, say: Language) -> Cell:
    return Cell(say.share(share.value, share.low, share.high), share.value)


def page(analysis: Analysis, language: str = "en") -> str:
    """Write the page.

    :param analysis: of the dialogues.
    :param language: en or ru.
    :return: an HTML document that asks for nothing outside itself; whatever the dialogues hold
        stays text.
    :raises InputError: if the language is neither.
    :raises MissingExtraError: if jinja2 is not installed.
    """
    say = Language(language)
    title, lead = headline(analysis, say)
    ordered = enumerate(analysis.by_urgency(), start=1)
    shown = [Shown(analysis, dialogue, number, say) for number, dialogue in ordered]
    return render(
        "dialogues.html.j2",
        say,
        title=title,
        lead=lead,
        about=say("Emotions in dialogues", "Эмоции в диалогах"),
        mood="",
        skip_to="dialogue-1" if len(shown) == 1 else "dialogues",
        analysis=analysis,
        dialogues=shown,
        prefix="",
        first=shown[:_FIRST],
        opened=shown[:MOST_DIALOGUES],
        segment_name=segment_name,
        sparkline=sparkline,
        method=_method(analysis, say),
        facts=[
            (say("model", "модель"), analysis.model or NONE),
            (say("version", "версия"), f"ov-emotions {ov_emotions.__version__}"),
            *((key, _setting(value)) for key, value in asdict(analysis.settings).items()),
        ],
    )


def fragment(analysis: Analysis, language: str, number: int | None = None, prefix: str = "") -> str:
    """Write dialogues as a part of another page.

    :param analysis: of the dialogues.
    :param language: en or ru.
    :param number: the dialogue to write, the most urgent is 1; None writes the one that there is,
        or what leads to each where there are several: links to `#PREFIXdialogue-NUMBER`.
    :param prefix: of ids, where the page holds them twice.
    :return: markup; `styles` and `dialogues.css` colour it, `page.js` and `dialogues.js` move it.
    """
    say = Language(language)
    ordered = enumerate(analysis.by_urgency(), start=1)
    shown = [Shown(analysis, dialogue, place, say, prefix) for place, dialogue in ordered]
    if number is None and len(shown) == 1:
        number = 1
    return render(
        "dialogues_fragment.html.j2",
        say,
        analysis=analysis,
        dialogues=shown,
        only=None if number is None else shown[number - 1],
        prefix=prefix,
        first=shown[:_FIRST],
        opened=shown,
        segment_name=segment_name,
        sparkline=sparkline,
    )


def styles() -> str:
    """Return the style sheet of the plots, for pages other than `page`'s.

    :return: CSS; colours are custom properties of `:root`, such as `--ink` and `--who-0`, and
        follow the reader's light or dark scheme.
    """
    return "\n".join(map(asset, ("palette.css", "plots.css")))


def _method(analysis: Analysis, say: Language) -> list[str]:
    """Say how the figures came about, a paragraph each."""
    settings = analysis.settings
    names = [analysis.label_name(label, say.code) for label in analysis.negative_labels]
    bandwidth = (
        say("2 utterances, or a fiftieth of theirs where that is more",
            "2 реплики или пятидесятая часть всех, если это больше")
        if settings.bandwidth is None
        else say.plain(settings.bandwidth)
    )  # fmt: skip
    values = {
        "labels": ", ".join(names),
        "full_words": settings.full_words,
        "bandwidth": bandwidth,
        "permutations": say.count(
            settings.permutations, "order|orders", "порядок|порядка|порядков"
        ),
        "alpha": say.plain(settings.alpha),
        "false": say.percent(settings.alpha),
        "min_segment": say.count(
            settings.min_segment, "utterance|utterances", "реплики|реплик|реплик"
        ),
        "min_shift": say.plain(settings.min_shift),
        "half_life": say.plain(settings.half_life),
        "level": say.plain(settings.handover_level),
        "run": say.count(settings.handover_run, "utterance|utterances", "реплики|реплик|реплик"),
        "label": analysis.label_name(settings.handover_label, say.code),
        "strength": say.plain(settings.handover_strength),
        "repeats": say.count(settings.handover_repeats, "", "реплике|репликах|репликах"),
        "words": say.count(settings.handover_words, "word|words", "слова|слов|слов"),
    }
    said = (
        say(
            "Strength is one scale for every emotion: 0 for a probability of 0, 0.5 at the model's "
            "threshold, 1 for a probability of 1. Negative are {labels}; the negativity of an "
            "utterance is the highest strength of these. Its weight is its number of words over "
            "{full_words}, at most 1.",
            "Сила измеряется одной шкалой для всех эмоций: 0 при вероятности 0, 0,5 на пороге "
            "модели, 1 при вероятности 1. Негативные эмоции: {labels}; негатив реплики — "
            "наибольшая их сила. Вес реплики — число слов, делённое на {full_words}, но не "
            "больше 1.",
        ),
        say(
            "Curves: Nadaraya–Watson smoothing with a Gaussian kernel over a speaker's own "
            "utterances (bandwidth {bandwidth}). Intervals: Wilson's, at Kish's effective sample "
            "size over the dispersion of a quasi-binomial model. They tell how few utterances "
            "there are, not how often the model errs.",
            "Кривые: сглаживание Надарая — Уотсона с гауссовым ядром по репликам говорящего "
            "(ширина {bandwidth}). Интервалы: Уилсона при эффективном объёме выборки по Кишу, "
            "делённом на дисперсию квазибиномиальной модели. Они показывают, насколько мало "
            "реплик, а не как часто ошибается модель.",
        ),
        say(
            "Turning points: binary segmentation of the mean by a weighted CUSUM; kept where a "
            "permutation test of {permutations} gives p ≤ {alpha}, each side has {min_segment} or "
            "more and the mean moves by {min_shift} or more. Where nothing changes, about {false} "
            "of speakers are given one all the same.",
            "Переломы: бинарная сегментация среднего по взвешенной статистике CUSUM; остаются те, "
            "где перестановочный тест ({permutations}) даёт p ≤ {alpha}, с каждой стороны не "
            "меньше {min_segment}, а среднее сдвигается хотя бы на {min_shift}. Где ничего не "
            "меняется, перелом всё же найдётся примерно у {false} говорящих.",
        ),
        say(
            "Hand-over: the client's running negativity (half-life {half_life} utterances) at or "
            "above {level} in {run} in a row, or “{label}” of a strength of {strength} or more in "
            "{repeats} in a row; utterances of fewer than {words} neither count nor break a row. "
            "The rule sees nothing that was said later.",
            "Передача: накопленный негатив клиента (период полузатухания — {half_life} реплики) "
            "не ниже {level} на протяжении {run} подряд или эмоция «{label}» силой не ниже "
            "{strength} в {repeats} подряд; реплики короче {words} не считаются и не прерывают "
            "ряд. Правило не видит того, что сказано позже.",
        ),
    )
    return [sentence.format(**values) for sentence in said]


def _setting(value: object) -> str:
    if isinstance(value, tuple):
        return ", ".join(map(str, value)) or NONE
    return NONE if value is None else str(value)
