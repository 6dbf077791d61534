"""Dialogues as one HTML page that needs nothing else."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict

import ov_emotions
from ov_emotions.dialogues.page_tables import clients_table, dialogues_table, shares_table
from ov_emotions.dialogues.plot_clients import MOST_CLIENTS, clients_figure
from ov_emotions.dialogues.plot_emotions import drawn_labels, emotions_figure
from ov_emotions.dialogues.plot_negativity import MOST_DOTS, negativity_figure
from ov_emotions.dialogues.results import Analysis, DialogueAnalysis, SpeakerAnalysis
from ov_emotions.dialogues.spark import main_speaker
from ov_emotions.dialogues.talk import events, handover_sentence, talk, turn_sentences
from ov_emotions.dialogues.words import Words
from ov_emotions.reports import page as html

MOST_DIALOGUES = 20
"""Dialogues that a page shows one by one."""


def page(analysis: Analysis, language: str = "en") -> str:
    """Write the page.

    :param analysis: of the dialogues.
    :param language: en or ru.
    :return: an HTML document that asks for nothing outside itself; whatever the dialogues hold
        stays text.
    :raises InputError: if the language is neither.
    """
    words = Words(language)
    title = _title(analysis, words)
    return html.document(
        f"{title} – {words('about')}",
        _header(analysis, title, words),
        _sections(analysis, words),
        skip_to="dialogue-1",
        skip=words("skip"),
        language=language,
        styles=("dialogue.css",),
    )


def _title(analysis: Analysis, words: Words) -> str:
    if len(analysis.dialogues) == 1:
        return analysis.dialogues[0].name
    count = len(analysis.dialogues)
    if not analysis.clients:
        return words("title_roleless", dialogues=count)
    upset = _in_segment(analysis, "upset")
    return words("title_many", dialogues=count, clients=len(analysis.clients), upset=upset)


def _in_segment(analysis: Analysis, segment: str) -> int:
    return sum(client.segment == segment for client in analysis.clients)


def _header(analysis: Analysis, title: str, words: Words) -> str:
    lines = [
        f'<header><p class="about">{html.text(words("about"))}</p>',
        f"<h1>{html.text(title)}</h1>",
        *(f'<p class="lead">{html.text(line)}</p>' for line in _lead(analysis, words)),
    ]
    if analysis.undecided:
        names = ", ".join(analysis.undecided[:3]) + ("…" if len(analysis.undecided) > 3 else "")
        told = words(
            "undecided",
            count=len(analysis.undecided),
            dialogues=len(analysis.dialogues),
            names=names,
        )
        lines.append(f'<p class="warning">{html.text(told)}</p>')
    return "\n".join([*lines, "</header>"])


def _lead(analysis: Analysis, words: Words) -> Iterator[str]:
    if len(analysis.dialogues) == 1:
        (dialogue,) = analysis.dialogues
        speaker = main_speaker(dialogue)
        share = speaker.negative
        told = words.interval(share.value, share.low, share.high)
        yield words("lead_one", speaker=speaker.name, share=told)
    elif analysis.clients:
        yield words(
            "lead_many",
            **{name: _in_segment(analysis, name) for name in ("calm", "wavering", "upset")},
            handovers=sum(dialogue.handover is not None for dialogue in analysis.dialogues),
            dialogues=len(analysis.dialogues),
        )


def _sections(analysis: Analysis, words: Words) -> Iterator[str]:
    many = len(analysis.dialogues) > 1
    if many and analysis.clients:
        yield _clients(analysis, words)
    shown = analysis.by_urgency()[:MOST_DIALOGUES]
    if many:
        yield _dialogues(analysis, shown, words)
    for number, dialogue in enumerate(shown, start=1):
        yield _dialogue(analysis, dialogue, number, words)
    yield html.section("method", words("method"), *_method(analysis, words))


def _clients(analysis: Analysis, words: Words) -> str:
    calm, upset = analysis.cuts
    caption = words(
        "clients_caption",
        confidence=analysis.settings.confidence,
        calm=words.percent(calm),
        upset=words.percent(upset),
    )
    if len(analysis.clients) > MOST_CLIENTS:
        caption += words("clients_more", shown=MOST_CLIENTS, all=len(analysis.clients))
    plot = html.figure(
        lambda width, name: clients_figure(
            analysis, width=width, name=name, language=words.language
        ),
        "clients-plot",
        html.text(caption),
    )
    table = html.table(clients_table(analysis, words), sortable=True)
    return html.section("clients", words("clients"), plot, table)


def _dialogues(analysis: Analysis, shown: Sequence[DialogueAnalysis], words: Words) -> str:
    links = "\n".join(
        f'<li><a href="#dialogue-{i}">{html.text(dialogue.name)}</a></li>'
        for i, dialogue in enumerate(shown, start=1)
    )
    told = ""
    if len(shown) < len(analysis.dialogues):
        text = words("dialogues_shown", shown=len(shown), all=len(analysis.dialogues))
        told = f"<p>{html.text(text)}</p>"
    table = html.table(dialogues_table(analysis, words), sortable=True)
    return html.section(
        "dialogues", words("dialogues"), table, told, f'<ul class="jump">\n{links}\n</ul>'
    )


def _dialogue(analysis: Analysis, dialogue: DialogueAnalysis, number: int, words: Words) -> str:
    name = f"dialogue-{number}"
    sentences = [handover_sentence(analysis, dialogue, words)]
    sentences += turn_sentences(analysis, dialogue, words) or [words("no_turns")]
    told = "\n".join(f"<li>{html.text(sentence)}</li>" for sentence in sentences)
    caption = words("curve_caption", confidence=analysis.settings.confidence)
    if len(dialogue.utterances) <= MOST_DOTS:
        caption = f"{words('dots_caption')} {caption}"
    plot = html.figure(
        lambda width, id_: negativity_figure(
            dialogue, width=width, name=id_, language=words.language
        ),
        f"{name}-negativity",
        html.text(caption),
    )
    emotions = [
        _emotions(analysis, speaker, f"{name}-emotions-{i}", words)
        for i, speaker in enumerate(dialogue.speakers)
        if speaker.role != "operator"
    ]
    emotions += [
        html.details(
            words("emotions_plot", name=speaker.name),
            _emotions(analysis, speaker, f"{name}-operator-{i}", words),
        )
        for i, speaker in enumerate(dialogue.speakers)
        if speaker.role == "operator" and drawn_labels(analysis, speaker)
    ]
    shares = html.details(
        words("speakers"),
        html.table(shares_table(analysis, dialogue, f"{name}-shares", words)),
    )
    said = html.details(
        words("transcript"), talk(analysis, dialogue, events(analysis, dialogue, words), words)
    )
    alone = len(analysis.dialogues) == 1  # its name is the page's title already
    return html.section(
        name,
        words("alone") if alone else dialogue.name,
        f'<ul class="reasons">\n{told}\n</ul>',
        plot,
        *emotions,
        shares,
        said,
    )


def _emotions(analysis: Analysis, speaker: SpeakerAnalysis, name: str, words: Words) -> str:
    drawn = drawn_labels(analysis, speaker)
    rest = [analysis.label_name(x, words.language) for x in analysis.labels if x not in drawn]
    hidden = words("hidden", labels=", ".join(rest)) if rest else ""
    caption = words(
        "emotions_caption",
        name=speaker.name,
        confidence=analysis.settings.confidence,
        hidden=hidden,
    )
    return html.figure(
        lambda width, id_: emotions_figure(
            analysis, speaker, width=width, name=id_, language=words.language
        ),
        name,
        html.text(caption),
    )


def _method(analysis: Analysis, words: Words) -> Iterator[str]:
    settings = analysis.settings
    values = asdict(settings)
    values["bandwidth"] = (
        words("bandwidth_auto") if settings.bandwidth is None else f"{settings.bandwidth:g}"
    )
    names = [analysis.label_name(label, words.language) for label in analysis.negative_labels]
    values["labels"] = ", ".join(names)
    values["label"] = analysis.label_name(settings.handover_label, words.language)
    for part in ("negativity", "curves", "turns", "handover"):
        yield f"<p>{html.text(words(f'method_{part}', **values))}</p>"
    facts = [
        (words("model"), analysis.model or "–"),
        (words("version"), f"ov-emotions {ov_emotions.__version__}"),
        *((key, _setting(value)) for key, value in asdict(settings).items()),
    ]
    yield html.details(words("method_settings"), html.facts(facts))


def _setting(value: object) -> str:
    if isinstance(value, tuple):
        return ", ".join(map(str, value)) or "–"
    return "–" if value is None else str(value)
