"""Who is the client and who the operator.

In this order: names that the settings give; names that say it themselves, such as «Клиент 2» or
`agent_7`; in a dialogue of two speakers, one known role gives the other's; a speaker alone who is
no operator is the client. Anything else stays undecided, and is asked for.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Literal

from ov_emotions.dialogues.settings import DialogueSettings
from ov_emotions.errors import InputError

Role = Literal["client", "operator"]

# Beginnings of words: Russian endings and numbers may follow.
_STEMS: dict[Role, tuple[str, ...]] = {
    "client": (
        "клиент",
        "абонент",
        "заказчи",
        "покупател",
        "покупательниц",
        "пользовател",
        "пациент",
        "посетител",
        "звонящ",
        "заявител",
        "client",
        "customer",
        "caller",
        "user",
        "buyer",
        "patient",
        "subscriber",
        "visitor",
    ),
    "operator": (
        "оператор",
        "менеджер",
        "агент",
        "поддержк",
        "сотрудни",
        "специалист",
        "консультант",
        "администратор",
        "диспетчер",
        "бот",
        "робот",
        "operator",
        "agent",
        "support",
        "manager",
        "employee",
        "consultant",
        "assistant",
        "bot",
        "robot",
        "dispatcher",
    ),
}
_WORD = re.compile(r"[^\W\d_]+")


def folded(name: str) -> str:
    """Make names comparable: one case, one ё, single spaces."""
    return " ".join(name.casefold().replace("ё", "е").split())


def named_role(name: str) -> Role | None:
    """Read the role out of a name.

    :param name: of a speaker.
    :return: the role; None if the name tells none, or both.
    """
    words = _WORD.findall(folded(name))
    told = {
        role
        for role, stems in _STEMS.items()
        for word in words
        if any(_begins(word, stem) for stem in stems)
    }
    return told.pop() if len(told) == 1 else None


def _begins(word: str, stem: str) -> bool:
    # «клиентка» and «Боткин» differ: an ending is no longer than half of the stem.
    return word.startswith(stem) and len(word) - len(stem) <= len(stem) // 2


def find_roles(speakers: Sequence[str], settings: DialogueSettings) -> dict[str, Role | None]:
    """Tell the roles in one dialogue.

    :param speakers: of the dialogue.
    :param settings: `client` and `operator` are heeded.
    :return: by speaker; None where it cannot be told.
    """
    given: dict[str, Role] = {folded(name): "client" for name in settings.client}
    given |= {folded(name): "operator" for name in settings.operator}
    roles = {name: given.get(folded(name)) or named_role(name) for name in speakers}
    known = [role for role in roles.values() if role]
    if len(speakers) <= 2 and len(known) == len(speakers) - 1 and known != ["client"]:
        return {name: role or "client" for name, role in roles.items()}
    if len(speakers) == 2 and known == ["client"]:
        return {name: role or "operator" for name, role in roles.items()}
    return roles


def check_names(speakers: Sequence[str], settings: DialogueSettings) -> None:
    """Refuse names of roles that no speaker has.

    :param speakers: of all dialogues.
    :param settings: `client` and `operator` are checked.
    :raises InputError: for a name that is no speaker's, or has both roles.
    """
    known = {folded(name) for name in speakers}
    both = {folded(n) for n in settings.client} & {folded(n) for n in settings.operator}
    if both:
        raise InputError(f"{min(both)!r} is given as client and as operator")
    for name in (*settings.client, *settings.operator):
        if folded(name) not in known:
            shown = ", ".join(list(dict.fromkeys(speakers))[:8])
            raise InputError(f"no speaker is called {name!r}; there are {shown}")
