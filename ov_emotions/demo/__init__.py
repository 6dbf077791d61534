"""A page to look at emotions with: Gradio on the server's app, in Russian and English."""
