"""What went wrong, in the reader's language, with what to do about it."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator

from ov_emotions.demo.markup import Words, escape
from ov_emotions.demo.texts import TEXTS, say
from ov_emotions.errors import OvEmotionsError

logger = logging.getLogger(__name__)

_TEMPLATE = str.maketrans({"{": "&#123;", "}": "&#125;", "$": "&#36;", "`": "&#96;"})


def failure(title: Words, hint: Words | None = None, details: str = "") -> str:
    """Write a message about a failure.

    :param title: what failed.
    :param hint: what to do.
    :param details: what the library said, in English; not escaped yet.
    :return: the markup.
    """
    parts = [f'<p class="failure-title">{title.html()}</p>']
    if hint is not None:
        parts.append(f"<p>{hint.html()}</p>")
    if details:
        parts.append(
            f"<details><summary>{say('fail.details')}</summary>"
            f'<p lang="en"><code>{escape(details)}</code></p></details>'
        )
    return f'<div class="failure" role="alert">{"".join(parts)}</div>'


def model_failure(error: BaseException) -> str:
    """Write that the model failed."""
    details = str(error) if isinstance(error, OvEmotionsError) else type(error).__name__
    return failure(TEXTS["fail.model"], TEXTS["fail.model.hint"], details)


def shielded(markup: str) -> str:
    """Keep Gradio, which fills values into templates, from taking a text for a template."""
    return markup.translate(_TEMPLATE)


def guarded(answer: Callable[..., str]) -> Callable[..., str]:
    """Make a function that answers with markup say what failed instead of raising.

    :param answer: gives markup.
    :return: the same, whatever happens.
    """

    def safe(*arguments: object) -> str:
        try:
            return shielded(answer(*arguments))
        except Exception as error:  # whatever it is, the reader needs a sentence
            logger.exception("a request of the page failed")
            return shielded(model_failure(error))

    return safe


def guarded_steps(answer: Callable[..., Iterator[str]]) -> Callable[..., Iterator[str]]:
    """Do the same for a function that answers step by step.

    :param answer: yields markup.
    :return: the same, whatever happens.
    """

    def safe(*arguments: object) -> Iterator[str]:
        try:
            for step in answer(*arguments):
                yield shielded(step)
        except Exception as error:  # as above
            logger.exception("a request of the page failed")
            yield shielded(model_failure(error))

    return safe
