"""Gradio's theme, drawn from the page's own colours and fonts."""

from __future__ import annotations

from typing import Any

from ov_emotions.system import import_gradio

# Fonts that systems have: none is fetched.
SANS = ("system-ui", "-apple-system", "Segoe UI", "Roboto", "Noto Sans", "sans-serif")
MONO = ("ui-monospace", "SF Mono", "Menlo", "Consolas", "DejaVu Sans Mono", "monospace")

_COLOURS = {
    "body_background_fill": "paper",
    "body_text_color": "ink",
    "body_text_color_subdued": "soft",
    "background_fill_primary": "card",
    "background_fill_secondary": "paper",
    "border_color_primary": "rule",
    "block_background_fill": "paper",
    "block_border_color": "rule",
    "input_background_fill": "card",
    "input_border_color": "strong",
    "input_border_color_focus": "ink",
    "input_placeholder_color": "soft",
    "link_text_color": "ink",
    "loader_color": "ink",
}


def build_theme() -> Any:
    """Make the theme; light and dark follow the variables of the page's style sheet.

    :return: a theme of Gradio's.
    """
    gr = import_gradio()
    themes = gr.themes
    theme = themes.Base(
        font=[themes.Font(name) for name in SANS], font_mono=[themes.Font(name) for name in MONO]
    )
    colours = {name: f"var(--{colour})" for name, colour in _COLOURS.items()}
    dark = {f"{name}_dark": value for name, value in colours.items()}
    return theme.set(
        **colours,
        **dark,
        block_border_width="0px",
        block_padding="0px",
        block_radius="0px",
        block_shadow="none",
        input_radius="6px",
        input_shadow="none",
        input_shadow_focus="none",
        layout_gap="0px",
    )
